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

/// A file being written, in the format of HDF5 1.8 (its metadata carries checksums), without time stamps: equal calls give equal bytes.
/// Nothing is complete until close() has returned; the destructor of an unclosed file gives up quietly. To be used on AtomicFile::temporary().
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path);
  ~Hdf5Writer();
  Hdf5Writer(Hdf5Writer&&) noexcept;

  /// Names are absolute paths ("/image/offset"); missing groups are created. Throws IoError on any refusal (a full disk among them).
  void write(const std::string& name, std::span<const uint8_t> values);
  void write(const std::string& name, std::span<const uint32_t> values);
  void write(const std::string& name, std::span<const uint64_t> values);
  void write(const std::string& name, std::span<const int32_t> values);
  void write(const std::string& name, std::span<const int64_t> values);
  /// Fixed-length UTF-8 strings, null-padded to the longest. Throws DataError if one holds a zero byte.
  void write(const std::string& name, const std::vector<std::string>& values);
  void attribute(const std::string& name, const std::string& value);
  void attribute(const std::string& name, int64_t value);
  /// Appends to a growing byte dataset: begin_bytes(total) allocates it contiguously, append_bytes fills it in order.
  void begin_bytes(const std::string& name, uint64_t total);
  void append_bytes(std::span<const uint8_t> values);
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A file being read. Throws DataError naming file and object: not HDF5, truncated, missing, a link, another type, another rank, not contiguous,
/// filtered, stored outside the file. Values are read straight from the dataset's extent, which lies in the file: no size is believed before.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& path);
  ~Hdf5Reader();
  Hdf5Reader(Hdf5Reader&&) noexcept;

  bool has(const std::string& name) const;
  uint64_t length(const std::string& name) const;
  std::vector<uint8_t> read_u8(const std::string& name) const;
  std::vector<uint32_t> read_u32(const std::string& name) const;
  std::vector<uint64_t> read_u64(const std::string& name) const;
  std::vector<int32_t> read_i32(const std::string& name) const;
  std::vector<int64_t> read_i64(const std::string& name) const;
  std::vector<std::string> read_strings(const std::string& name) const;
  std::string string_attribute(const std::string& name) const;
  int64_t int_attribute(const std::string& name) const;
  bool has_attribute(const std::string& name) const;
  /// Where a contiguous, unfiltered dataset lies. Throws DataError if it is chunked, filtered, or passes the file's end.
  Extent extent(const std::string& name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncdr::io
