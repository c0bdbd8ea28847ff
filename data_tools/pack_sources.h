#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

/// Which images a dataset is packed from, and the domain, split and label of each.
namespace syncdr::data_tools {

/// One image to pack.
struct Source {
  std::filesystem::path file;
  std::string domain, split;  ///< split: "train", "val", "test"
  std::string key;            ///< its identity, "DOMAIN/..."
  int32_t label = -1;
};

struct SplitOptions {
  double val = 0.15, test = 0.25;  ///< shares of a category's images, about the published ones
  bool disjoint = false;           ///< the two domains' training images are of different categories
  uint64_t seed = 0;
};

struct Sources {
  std::vector<Source> images;           ///< by domain, split, then key or place in the list
  std::vector<std::string> domains;     ///< sorted
  std::vector<std::string> categories;  ///< names of the labels; empty for lists
};

/// ROOT/DOMAIN/CATEGORY/.../IMAGE.jpg|jpeg|png of all roots. Links to folders are not followed, other files are passed over. Splits are a function
/// of (seed, key), halves of (seed, category): more images or another order change nothing for the rest.
/// Throws DataError if a root has no such images, or the same key comes twice.
Sources scan_folders(const std::vector<std::filesystem::path>& roots);
/// Gives each image its split, and leaves training images of the other domain's categories out where the halves are to be disjoint.
void assign_splits(Sources& sources, const SplitOptions& options);

/// "DOMAIN:SPLIT=FILE" arguments; FILE holds lines "path label", paths relative to root (empty: the list's folder). Throws UsageError on a malformed
/// argument, DataError "FILE:LINE: ..." on a bad label, a path that is absolute or leaves root, a missing file, or an image that comes twice in a domain.
Sources read_lists(const std::vector<std::string>& arguments, const std::filesystem::path& root);

}  // namespace syncdr::data_tools
