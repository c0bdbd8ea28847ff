#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

/// A thin, checked wrapper of what syncdr needs of HDF5: contiguous one-dimensional datasets and scalar attributes.
/// Every return code is checked: HDF5 otherwise reads lost data as zeros. HDF5 itself is guarded by one lock, so files may be opened and written from
/// several threads; a single object belongs to one thread at a time.
namespace syncdr::io {

/// Where a contiguous dataset's bytes lie in the file: readers map or read them directly, without HDF5's lock.
struct Extent {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

/// The library that is linked at run time, "1.10.8".
std::string hdf5_version();

/// A file being written, in the format of HDF5 1.8 (its metadata carries checksums), without time stamps: equal calls give equal bytes.
/// Nothing is complete until close() has returned; the destructor of an unclosed file gives up quietly. To be used on AtomicFile::temporary().
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path);
  ~Hdf5Writer();

  /// Value: uint8_t, uint32_t, uint64_t, int32_t, int64_t, float (only written), or std::string: fixed-length UTF-8, null-padded to the longest.
  /// Names are absolute paths ("/image/offset"); missing groups are created. Throws IoError on any refusal (a full disk among them), DataError if a
  /// string holds a zero byte.
  template <class Value> void write(const std::string& name, const std::vector<Value>& values);
  /// Bytes that lie in several places, one after the other.
  void write_parts(const std::string& name, const std::vector<std::span<const uint8_t>>& parts);
  void attribute(const std::string& name, const std::string& value);
  void attribute(const std::string& name, int64_t value);
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

template <> void Hdf5Writer::write(const std::string& name, const std::vector<std::string>& values);

/// A file being read. Throws DataError naming file and object: not HDF5, truncated, missing, a link, another type, another rank, not contiguous,
/// filtered, stored outside the file. Values are read straight from the dataset's extent, which lies in the file: no size is believed before.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& path);
  ~Hdf5Reader();

  bool has(const std::string& name) const;
  /// Value: as for Hdf5Writer::write.
  template <class Value> std::vector<Value> read(const std::string& name) const;
  std::string string_attribute(const std::string& name) const;
  int64_t int_attribute(const std::string& name) const;
  bool has_attribute(const std::string& name) const;
  /// Where a contiguous, unfiltered dataset lies. Throws DataError if it is chunked, filtered, or passes the file's end.
  Extent extent(const std::string& name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

template <> std::vector<std::string> Hdf5Reader::read(const std::string& name) const;

}  // namespace syncdr::io
