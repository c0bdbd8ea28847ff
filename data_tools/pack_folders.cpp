#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "pack_sources.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/philox.h"
#include "syncdr/core/some_of.h"
#include "syncdr/io/hash.h"

/// Datasets that lie in folders.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// What a folder of a split is called; empty: it is none.
std::string split_named(const std::string& folder) {
  if (folder == "train" || folder == "test") return folder;
  return folder == "val" || folder == "valid" || folder == "validation" ? "val" : "";
}

/// What one folder holds, by name.
struct Listing {
  std::vector<fs::path> folders, files;
};

class Scan {
 public:
  explicit Scan(Sources& sources) : sources_(sources) {}

  void root(const fs::path& root) {
    const size_t before = images_.size();
    const Listing domains = list(root);
    for (const fs::path& file : domains.files) pass_over("beside the domains' folders", file);
    for (const fs::path& folder : domains.folders) {
      check_domain(folder.filename().string(), root.string());
      domain(folder);
    }
    if (images_.size() == before)
      throw core::DataError("{}: has no images as DOMAIN/CATEGORY/IMAGE, DOMAIN/IMAGE or DOMAIN/train/CATEGORY/IMAGE (jpg, png, webp, tiff)", root.string());
  }

  /// The images with the names of their categories; empty: none.
  std::vector<std::pair<Source, std::string>>& images() { return images_; }

 private:
  void domain(const fs::path& folder) {
    const std::string name = folder.filename().string();
    const Listing inside = list(folder);
    const bool splits = !inside.folders.empty() &&
                        std::all_of(inside.folders.begin(), inside.folders.end(), [](const fs::path& part) { return !split_named(part.filename()).empty(); });
    const size_t before = images_.size();
    if (splits) {
      for (const fs::path& file : inside.files) pass_over("beside train, val and test", file);
      for (const fs::path& part : inside.folders) categories(list(part), folder, name, split_named(part.filename()));
    } else {
      categories(inside, folder, name, "");
    }
    if (images_.size() == before) return pass_over("folders of domains without images", folder);
    if (first_.empty()) first_ = folder;
    else if (splits != sources_.split)
      throw core::DataError("{} holds {}, {} holds {}: all domains need the same", first_.string(), layout(sources_.split), folder.string(), layout(splits));
    sources_.split = splits;
  }

  static const char* layout(bool splits) { return splits ? "train, val or test" : "categories"; }

  /// The categories of a domain or of one of its splits, and the images beside them.
  void categories(const Listing& inside, const fs::path& domain_folder, const std::string& domain, const std::string& split) {
    const size_t before = images_.size();
    for (const fs::path& file : inside.files) add(file, domain_folder, domain, split, "");
    if (images_.size() > before && !split.empty() && split != "train")
      throw core::DataError("{}: has no category. Images that are tested on need one: {}/CATEGORY/IMAGE", images_.back().first.file.string(),
                            images_.back().first.file.parent_path().string());
    for (const fs::path& category : inside.folders) {
      read_.clear();
      below(category, domain_folder, domain, split, category.filename().string());
    }
  }

  void below(const fs::path& folder, const fs::path& domain_folder, const std::string& domain, const std::string& split, const std::string& category) {
    if (!read_.insert(fs::canonical(folder)).second) return pass_over("links to folders that are read already", folder);
    const Listing inside = list(folder);
    for (const fs::path& file : inside.files) add(file, domain_folder, domain, split, category);
    for (const fs::path& further : inside.folders) below(further, domain_folder, domain, split, category);
  }

  void add(const fs::path& file, const fs::path& domain_folder, const std::string& domain, const std::string& split, const std::string& category) {
    if (!is_image_extension(extension_of(file))) return pass_over("no pictures by their names (jpg, png, webp, tiff)", file);
    check_text(file.string(), "pack");
    images_.push_back(
        {{.file = file, .domain = domain, .split = split, .key = domain + "/" + file.lexically_relative(domain_folder).generic_string()}, category});
  }

  Listing list(const fs::path& folder) {
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    if (error) throw core::DataError("{}: cannot be listed: {}", folder.string(), error.message());
    Listing listing;
    for (const auto& entry : entries) {
      const fs::path& path = entry.path();
      const fs::file_type type = entry.status(error).type();  // of what a link leads to
      if (is_hidden(path)) pass_over("hidden (their names begin with a dot)", path);
      else if (type == fs::file_type::directory) listing.folders.push_back(path);
      else if (type == fs::file_type::regular) listing.files.push_back(path);
      else if (entry.is_symlink()) pass_over("links that lead nowhere", path);
      else pass_over("neither files nor folders", path);
    }
    std::sort(listing.folders.begin(), listing.folders.end());
    std::sort(listing.files.begin(), listing.files.end());
    return listing;
  }

  void pass_over(const char* why, const fs::path& path) { sources_.passed_over[why].push_back(path.string()); }

  Sources& sources_;
  std::vector<std::pair<Source, std::string>> images_;
  std::set<fs::path> read_;  // folders below the category that is being read, without links
  fs::path first_;           // the first domain that has images
};

/// By label, a number where it has no name.
std::map<int32_t, std::string> category_names(const Sources& sources) {
  std::map<int32_t, std::string> names;
  for (const Source& image : sources.images)
    if (image.label >= 0) names[image.label] = sources.categories.empty() ? std::to_string(image.label) : sources.categories[static_cast<size_t>(image.label)];
  return names;
}

/// Position of each category in an order by chance: the first half trains in the first domain, the other in the second.
std::map<int32_t, bool> halve(const std::map<int32_t, std::string>& categories, uint64_t seed) {
  std::vector<std::pair<uint64_t, int32_t>> order;
  for (const auto& [label, name] : categories) {
    core::Random random(seed, core::Purpose::split, io::hash64("category " + name));
    order.emplace_back(uint64_t{random.bits()} << 32 | random.bits(), label);
  }
  std::sort(order.begin(), order.end());
  std::map<int32_t, bool> second;
  for (size_t i = 0; i < order.size(); ++i) second[order[i].second] = i >= (order.size() + 1) / 2;
  return second;
}

std::string split_of(const Source& image, const SplitOptions& options) {
  if (image.label < 0) return "train";
  const double draw = core::Random(options.seed, core::Purpose::split, io::hash64(image.key)).uniform();
  if (draw < options.test) return "test";
  return draw < options.test + options.val ? "val" : "train";
}

/// Throws DataError where halving the categories has left a domain nothing to train on, and says why.
void check_halves(const Sources& sources, const std::map<std::string, std::set<std::string>>& left_out) {
  for (const auto& [domain, categories] : left_out) {
    const bool trains =
        std::any_of(sources.images.begin(), sources.images.end(), [&](const Source& image) { return image.domain == domain && image.split == "train"; });
    if (trains) continue;
    throw core::DataError(
        "the domain \"{}\" has nothing to train on: its categories ({}) belong to the half that the other domain trains on. Use --no-disjoint; or, if they are "
        "no "
        "categories, lay its images directly into the domain's folder",
        domain, core::some_of(categories));
  }
}

}  // namespace

Sources scan_folders(const std::vector<fs::path>& roots) {
  Sources sources;
  Scan scan(sources);
  for (const fs::path& root : roots) scan.root(root);
  auto& found = scan.images();
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first.key < b.first.key; });
  std::vector<std::string> categories;
  for (auto& [image, category] : found) {
    if (!sources.images.empty() && sources.images.back().key == image.key) {
      throw core::DataError("{} and {} are both \"{}\"; images of one domain need names of their own", sources.images.back().file.string(), image.file.string(),
                            image.key);
    }
    sources.images.push_back(std::move(image));
    categories.push_back(std::move(category));
  }
  finish(sources, categories);
  return sources;
}

void assign_splits(Sources& sources, const SplitOptions& options) {
  SYNCDR_ASSERT(!options.disjoint || sources.domains.size() == 2, "{} domains cannot train on two halves", sources.domains.size());
  const std::map<int32_t, std::string> categories = category_names(sources);
  const std::map<int32_t, bool> in_second = halve(categories, options.seed);
  std::vector<Source> kept;
  std::map<std::string, std::set<std::string>> left_out;  // categories by domain
  for (Source& image : sources.images) {
    if (!sources.split) image.split = split_of(image, options);
    const bool second_domain = image.domain == sources.domains.back();
    if (options.disjoint && image.split == "train" && image.label >= 0 && in_second.at(image.label) != second_domain) {
      left_out[image.domain].insert(categories.at(image.label));
      continue;
    }
    kept.push_back(std::move(image));
  }
  if (options.disjoint) {
    core::info("{} training images are left out, so that the domains train on different categories", sources.images.size() - kept.size());
  }
  sources.images = std::move(kept);
  check_halves(sources, left_out);
}

}  // namespace syncdr::data_tools
