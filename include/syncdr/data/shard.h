#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "syncdr/data/codec.h"

/// A shard: one sealed HDF5 file of images with their keys. The layout is documented in src/data/README.md; h5py reads it.
namespace syncdr::data {

/// Written in all shards of this release; readers refuse others.
inline constexpr int64_t shard_version = 1;

/// Row of a translation: what it was made from and how it went.
struct SourceRow {
  std::string key;       ///< the source image's key
  int32_t shard = 0;     ///< index of the source shard within its split
  int64_t row = 0;       ///< row in that shard
  std::string prompt;    ///< the text it was made under; empty: none
  int32_t variant = 0;
  int64_t seed = 0;
  int32_t status = 0;    ///< 0 good, 1 redrawn once, 2 quarantined (pixels are then the source's and must not be used)
  bool operator==(const SourceRow&) const = default;
};

struct Row {
  std::string key;                ///< identity of the image: domain-relative path, "DOMAIN/..." (translations: the source's key)
  int32_t label = -1;             ///< -1 unknown; training never reads it
  std::vector<uint8_t> encoded;   ///< in the shard's codec
};

struct ShardHeader {
  std::string domain;             ///< the look of its images; a translation has its target domain here
  std::string split;
  Codec codec = Codec::png;
  int64_t height = 0, width = 0;  ///< 0: images differ in size
  std::map<std::string, std::string> provenance;  ///< translations: translator, model hash, settings
};

/// Writes one shard atomically: rows are gathered, seal() writes PATH.tmp, fsyncs, reopens and verifies it, and renames it.
class ShardWriter {
 public:
  /// with_source: the shard is a translation and each row comes with its SourceRow.
  ShardWriter(std::filesystem::path path, ShardHeader header, bool with_source = false);
  ~ShardWriter();
  ShardWriter(ShardWriter&&) noexcept;
  void add(Row row);
  void add(Row row, SourceRow source);
  int64_t rows() const;
  /// Throws IoError when the disk refuses; nothing is then left behind.
  void seal();
  /// seal() for a shard that several processes may write: false if another has sealed it first, whose file stays, or has removed the
  /// temporary. token: io::process_token().
  bool seal_unless_there(const std::string& token);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads one sealed shard. Opening checks structure and sizes; image() checks the row's CRC. image() may be called from several threads.
/// All errors are DataError with path and row.
class ShardReader {
 public:
  explicit ShardReader(std::filesystem::path path);
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;

  const std::filesystem::path& path() const;
  const ShardHeader& header() const;
  int64_t rows() const;
  const std::string& key(int64_t row) const;
  int32_t label(int64_t row) const;
  bool is_translation() const;
  const SourceRow& source(int64_t row) const;
  std::vector<uint8_t> encoded(int64_t row) const;
  Image image(int64_t row, int64_t at_least = 0) const;
  /// Reads every row and decodes it. Throws DataError at the first that is broken.
  void verify() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncdr::data
