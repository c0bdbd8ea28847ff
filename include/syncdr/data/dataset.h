#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "syncdr/data/shard.h"

/// A dataset folder: dataset.json, real/DOMAIN/SPLIT-00000-of-00007.h5, synthetic/SOURCE-to-TARGET/RUN/unit-00000.h5.
namespace syncdr::data {

/// One sealed file in a manifest.
struct ManifestEntry {
  std::string file;  ///< relative to the manifest's folder
  int64_t rows = 0;
  int64_t bytes = 0;
  std::string hash;  ///< io::hash_file
};

/// What a dataset's packer or a translation run has sealed. Replaced atomically, by rank 0 alone.
struct Manifest {
  std::string kind;  ///< "dataset" or "translation"
  std::string name;
  std::vector<std::string> domains;             ///< dataset: its domains
  std::map<std::string, std::string> settings;  ///< how it was made; a rerun with other settings must not mix with it
  std::vector<ManifestEntry> entries;

  static Manifest read(const std::filesystem::path& file);  ///< DataError: missing, no JSON, unknown version, a path that leaves the folder
  void write(const std::filesystem::path& file) const;
  std::string text() const;  ///< what write() writes
};

/// The entry of a sealed file, given relative to the manifest's folder.
ManifestEntry make_entry(const std::filesystem::path& folder, const std::string& file, int64_t rows);

/// Throws DataError naming `where` unless the name of a `what` (domain, run, split) can be the name of one folder: not empty, no "/", not "..".
void check_name(const std::string& name, const char* what, const std::string& where);

/// Checks that an entry's file has the stated size and, if asked, hash. Throws DataError.
void check_entry(const std::filesystem::path& folder, const ManifestEntry& entry, bool hash);

/// Where an image lies.
struct Place {
  const ShardReader* shard;
  int64_t row;
  double weight = 1;  ///< of the pair, where it is a translation (PairWeights)
  Image image(int64_t at_least = 0) const { return shard->image(row, at_least); }
};

/// Rows of consecutive shards of one split seen as one list. Shards may be empty.
class ShardList {
 public:
  ShardList() = default;
  explicit ShardList(const std::vector<std::filesystem::path>& files);
  int64_t rows() const { return starts_.empty() ? 0 : starts_.back(); }
  int64_t shards() const { return static_cast<int64_t>(readers_.size()); }
  const ShardReader& shard(int64_t index) const { return readers_.at(static_cast<size_t>(index)); }
  int64_t first_row(int64_t index) const { return starts_.at(static_cast<size_t>(index)); }  ///< of a shard in the list
  /// The shard that holds a row of the list, and the row within it.
  std::pair<int64_t, int64_t> locate(int64_t row) const;
  std::string key(int64_t row) const;
  int32_t label(int64_t row) const;
  Image image(int64_t row, int64_t at_least = 0) const { return place(row).image(at_least); }
  /// Valid as long as the list, which may move.
  Place place(int64_t row) const;

 private:
  std::vector<ShardReader> readers_;
  std::vector<int64_t> starts_;  // exclusive prefix sums and the total: shards() + 1 entries
};

class Dataset {
 public:
  /// Reads dataset.json and checks that its files are there with their sizes.
  explicit Dataset(std::filesystem::path root);

  const std::filesystem::path& root() const { return root_; }
  const Manifest& manifest() const { return manifest_; }
  /// A domain's split ("train", "val", "test"). DataError lists what there is.
  ShardList real(const std::string& domain, const std::string& split) const;
  bool has(const std::string& domain, const std::string& split) const;  ///< whether real() would find it
  /// ROOT/synthetic/SOURCE-to-TARGET/RUN. Domain names are written in full: initials collide.
  std::filesystem::path synthetic_folder(const std::string& source, const std::string& target, const std::string& run) const;
  /// The sealed units of a finished translation (its translation.json is written last). DataError if it does not exist, is not complete, or was made
  /// from another dataset: the setting "dataset" is hash_file of the dataset.json that it was made from.
  ShardList synthetic(const std::string& source, const std::string& target, const std::string& run) const;

 private:
  std::filesystem::path root_;
  Manifest manifest_;
};

}  // namespace syncdr::data
