#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "syncdr/data/codec.h"
#include "syncdr/io/file.h"

namespace syncdr::io {
class Hdf5Reader;
}

/// A shard: one sealed HDF5 file of images with their keys. The layout is documented in src/data/README.md; h5py reads it.
namespace syncdr::data {

class ShardReader;

/// Written in all shards of this release; readers refuse others.
inline constexpr int64_t shard_version = 1;

/// Row of a translation: what it was made from and how it went.
struct SourceRow {
  std::string key;     ///< the source image's key
  int32_t shard = 0;   ///< index of the source shard within its split
  int64_t row = 0;     ///< row in that shard
  std::string prompt;  ///< the text it was made under; empty: none
  int32_t variant = 0;
  int64_t seed = 0;
  int32_t status = 0;  ///< 0 good, 1 redrawn once, 2 quarantined (pixels are then the source's and must not be used)
  bool operator==(const SourceRow&) const = default;
};

struct Row {
  std::string key;               ///< identity of the image: domain-relative path, "DOMAIN/..." (translations: the source's key)
  int32_t label = -1;            ///< -1 unknown; training never reads it
  std::vector<uint8_t> encoded;  ///< in the shard's codec
};

struct ShardHeader {
  std::string domain;  ///< the look of its images; a translation has its target domain here
  std::string split;
  Codec codec = Codec::png;
  int64_t height = 0, width = 0;                  ///< 0: images differ in size
  std::map<std::string, std::string> provenance;  ///< translations: translator, model hash, settings
  bool operator==(const ShardHeader&) const = default;
};

/// Writes one shard atomically: rows are gathered, seal() writes PATH.tmp, fsyncs, reopens and verifies it, and renames it.
class ShardWriter {
 public:
  /// with_source: the shard is a translation and each row comes with its SourceRow.
  ShardWriter(std::filesystem::path path, ShardHeader header, bool with_source = false)
      : path_(std::move(path)), header_(std::move(header)), with_source_(with_source) {}
  void add(Row row);
  void add(Row row, SourceRow source);
  int64_t rows() const { return std::ssize(rows_); }
  /// Throws IoError when the disk refuses; nothing is then left behind.
  void seal();
  /// seal() for a shard that several processes may write: false if another has sealed it first, whose file stays, or has removed the
  /// temporary. token: io::process_token().
  bool seal_unless_there(const std::string& token);

 private:
  void prepare(const std::filesystem::path& file);
  void check(const ShardReader& reader) const;

  std::filesystem::path path_;
  ShardHeader header_;
  bool with_source_, sealed_ = false;
  std::vector<Row> rows_;
  std::vector<SourceRow> sources_;
};

/// Texts one after the other, in little more memory than their bytes: millions of keys fit.
class Texts {
 public:
  Texts() = default;
  explicit Texts(const std::vector<std::string>& texts);  ///< throws DataError beyond 4 GiB
  int64_t size() const { return std::ssize(ends_); }
  std::string_view operator[](size_t index) const;

 private:
  std::string all_;
  std::vector<uint32_t> ends_;  // of each text in all_
};

/// Reads one sealed shard. Opening checks structure and sizes; image() checks the row's CRC. image() may be called from several threads.
/// All errors are DataError with path and row.
class ShardReader {
 public:
  explicit ShardReader(std::filesystem::path path);

  const std::filesystem::path& path() const { return file_.path(); }
  const ShardHeader& header() const { return header_; }
  int64_t rows() const { return keys_.size(); }
  std::string key(int64_t row) const { return std::string(keys_[checked(row)]); }
  int32_t label(int64_t row) const { return labels_[checked(row)]; }
  bool is_translation() const { return is_translation_; }
  SourceRow source(int64_t row) const;
  std::vector<uint8_t> encoded(int64_t row) const;
  Image image(int64_t row, int64_t at_least = 0) const;
  /// Reads every row and decodes it. Throws DataError at the first that is broken.
  void verify() const;

 private:
  size_t checked(int64_t row) const;
  template <class Value> std::vector<Value> column(const io::Hdf5Reader& hdf5, const char* name) const;
  void read_header(const io::Hdf5Reader& hdf5);
  void read_rows(const io::Hdf5Reader& hdf5);
  void read_sources(const io::Hdf5Reader& hdf5);

  /// A SourceRow without its texts.
  struct Made {
    int64_t row, seed;
    int32_t shard, prompt, variant, status;  // prompt: its place in prompts_, -1: none
  };

  // Everything but the images themselves is in memory: HDF5 is closed once the shard is open, and images are read by position, from any thread.
  io::InputFile file_;
  ShardHeader header_;
  uint64_t images_begin_ = 0;  // in the file
  std::vector<uint64_t> offsets_;
  std::vector<uint32_t> checksums_;
  Texts keys_, source_keys_;  // source_keys_: empty where they are the keys, as in all translations
  std::vector<int32_t> labels_;
  std::vector<Made> sources_;
  std::vector<std::string> prompts_;
  bool is_translation_ = false;
};

}  // namespace syncdr::data
