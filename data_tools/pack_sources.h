#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "image_table.h"

/// Which images a dataset is packed from, and the domain, split and label of each.
namespace syncdr::data_tools {

struct SplitOptions {
  double val = 0.15, test = 0.25;  ///< shares of a category's images, about the published ones
  bool disjoint = false;           ///< the two domains' training images are of different categories
  uint64_t seed = 0;
};

/// Files and folders that are left out for one reason: how many, and some of them.
struct PassedOver {
  int64_t count = 0;
  std::set<std::string> some;

  void add(const std::string& name);
};

struct Sources {
  ImageTable images;                              ///< of folders by key, else in the order of lists, tables and archives
  std::vector<std::string> domains;               ///< sorted
  std::vector<std::string> categories;            ///< names of the labels; empty: there are numbers alone
  bool split = false;                             ///< the folders or tables said which split each image belongs to
  std::map<std::string, PassedOver> passed_over;  ///< by the reason
};

/// Numbers for names of categories in the order in which they come; finish() makes them those of the sorted names.
class CategoryNumbers {
 public:
  /// -1: the name is empty.
  int32_t of(const std::string& name);
  const std::map<std::string, int32_t>& all() const { return numbers_; }

 private:
  std::map<std::string, int32_t> numbers_;
};

/// The images of all roots. A domain's folder holds one of
///
///     CATEGORY/.../IMAGE                    and images beside them, which have no category and train
///     train|val|test/CATEGORY/.../IMAGE     where every sub-folder is one of these (valid, validation: val); images beside categories only in train
///
/// and all domains the same. Links are followed, a folder is read once. Throws DataError if a root has no images, layouts differ, an image that does not train
/// has no category, a name is no UTF-8, the same key comes twice, or a folder cannot be listed.
Sources scan_folders(const std::vector<std::filesystem::path>& roots);
/// Gives each image its split, unless the folders did, and leaves training images of the other domain's categories out where the halves are to be disjoint.
/// Splits are a function of (seed, key), halves of (seed, category): more images or another order change nothing for the rest. Images without a category
/// train. Throws DataError if a domain is left without training images.
void assign_splits(Sources& sources, const SplitOptions& options);

struct ListOptions {
  std::vector<std::string> lists;   ///< "DOMAIN:SPLIT=FILE"
  std::vector<std::string> tables;  ///< files
  std::vector<std::string> tars;    ///< "DOMAIN:SPLIT=FILE"
  std::filesystem::path root;       ///< that paths are relative to; empty: the list's or table's folder
  std::string strip;                ///< taken off the paths that begin with it
};
/// FILE holds lines "path label", or "path" where it is for training; it may begin with a byte order mark. Throws UsageError on a malformed argument,
/// DataError "FILE:LINE: ..." on a bad label, a path that leads out of the root, is missing or no UTF-8, or an image that comes twice in a domain.
Sources read_lists(const ListOptions& options);
/// Tables with a line of column names, fields separated by commas, semicolons or tabs and quoted as in RFC 4180: path, domain; and, where they are there,
/// split (train, val, test), category (a name) or label (a number), prompt, mask (a picture's path). Without the column split the images are split as those of
/// folders are; an image without category trains. Other columns are passed over. Throws DataError "FILE:LINE: ..." as read_lists, and on columns that lack or
/// come twice.
Sources read_tables(const ListOptions& options);
/// Whether the folder is one that `export` has made, with its table (export_table.h). Of such a table keys and labels are the dataset's that it was made of.
bool is_exported(const std::filesystem::path& folder);
/// FILE is a WebDataset shard: members with one name up to the first dot of their base name are a sample, of which one is an image (jpg, jpeg, png, webp, tif,
/// tiff in any case) and .cls, where it is there, its label. Throws DataError as read_tar, and on samples without an image, with two, or, where the shard
/// has labels or the images are tested on, without a label.
Sources read_tars(const ListOptions& options);

/// What the functions above share. "DOMAIN:SPLIT=FILE", taken apart; throws UsageError naming the option.
struct Part {
  std::string domain, split;
  std::filesystem::path file;
};
Part parse_part(const char* option, const std::string& argument);
bool is_split(const std::string& name);
/// ".jpg" of "A.JPG".
std::string extension_of(const std::filesystem::path& file);
/// Whether it is a picture's.
bool is_image_extension(const std::string& extension);
/// Where a path of a list leads: the folder and domain, and the path's own part within them.
struct Found {
  uint32_t origin = 0;
  std::string name;
  std::filesystem::path file;
};
/// What paths in a list or table mean.
class Paths {
 public:
  Paths(const ListOptions& options, std::filesystem::path listed_in);
  /// Throws DataError naming `where`: the path leads out of the root, is missing, or no UTF-8.
  /// key: the image's; empty: its domain and the path.
  Found image(ImageTable& images, const std::string& path, const std::string& domain, const std::string& key, const std::string& where) const;
  /// The path of a mask, relative to the root, in the same way.
  std::string mask(const std::string& path, const std::string& where) const;

 private:
  std::string plain(std::string path, const std::string& where) const;
  std::filesystem::path root_, listed_in_;
  std::string strip_;
};
/// A label, or nothing: it is no number. Throws DataError naming `where` on a number that is none.
std::optional<int32_t> parse_label(std::string_view text, const std::string& where);
/// Throws DataError if two of a domain have one key.
void check_keys(const ImageTable& images);
/// Sorts domains, and numbers categories in the order of their names.
void finish(Sources& sources, const CategoryNumbers& categories = {});
/// Throw DataError naming `where`.
void check_domain(const std::string& domain, const std::string& where);
void check_text(const std::string& text, const std::string& where);

}  // namespace syncdr::data_tools
