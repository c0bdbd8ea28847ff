#include <algorithm>
#include <functional>
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

class Scan {
 public:
  Scan(Sources& sources, CategoryNumbers& categories) : sources_(sources), categories_(categories) {}

  void root(const fs::path& root) {
    const size_t before = sources_.images.size();
    const auto domains = list(root, [&](const fs::path& file) { pass_over("beside the domains' folders", file); });
    for (const fs::path& folder : domains) {
      check_domain(folder.filename().string(), root.string());
      domain(folder);
    }
    if (sources_.images.size() == before)
      throw core::DataError("{}: has no images as DOMAIN/CATEGORY/IMAGE, DOMAIN/IMAGE or DOMAIN/train/CATEGORY/IMAGE (jpg, png, webp, tiff)", root.string());
  }

 private:
  using Take = std::function<void(const fs::path&)>;

  void domain(const fs::path& folder) {
    const std::string name = folder.filename().string();
    folder_ = folder.string() + "/";
    origin_ = sources_.images.origin({.files = folder_, .keys = name + "/", .domain = name});
    const std::vector<fs::path> inside = list(folder, [](const fs::path&) {}, /*tells=*/false);
    const bool splits =
        !inside.empty() && std::all_of(inside.begin(), inside.end(), [](const fs::path& part) { return !split_named(part.filename()).empty(); });
    const size_t before = sources_.images.size();
    if (splits) {
      list(folder, [&](const fs::path& file) { pass_over("beside train, val and test", file); });
      for (const fs::path& part : inside) categories(part, split_named(part.filename()));
    } else {
      categories(folder, "");
    }
    if (sources_.images.size() == before) return pass_over("folders of domains without images", folder);
    if (first_.empty()) first_ = folder;
    else if (splits != sources_.split)
      throw core::DataError("{} holds {}, {} holds {}: all domains need the same", first_.string(), layout(sources_.split), folder.string(), layout(splits));
    sources_.split = splits;
  }

  static const char* layout(bool splits) { return splits ? "train, val or test" : "categories"; }

  /// The categories of a domain or of one of its splits, and the images beside them.
  void categories(const fs::path& folder, const std::string& split) {
    const auto inside = list(folder, [&](const fs::path& file) {
      if (add(file, split, -1) && !split.empty() && split != "train")
        throw core::DataError("{}: has no category. Images that are tested on need one: {}/CATEGORY/IMAGE", file.string(), folder.string());
    });
    for (const fs::path& category : inside) {
      read_.clear();
      below(category, split, category.filename().string());
    }
  }

  void below(const fs::path& folder, const std::string& split, const std::string& category) {
    if (!read_.insert(fs::canonical(folder)).second) return pass_over("links to folders that are read already", folder);
    const auto further = list(folder, [&](const fs::path& file) { add(file, split, categories_.of(category)); });
    for (const fs::path& next : further) below(next, split, category);
  }

  /// False: it is no picture.
  bool add(const fs::path& file, const std::string& split, int32_t label) {
    if (!is_image_extension(extension_of(file))) {
      pass_over("no pictures by their names (jpg, png, webp, tiff)", file);
      return false;
    }
    const std::string& path = file.native();
    check_text(path, "pack");
    sources_.images.add(origin_, {.name = std::string_view(path).substr(folder_.size()), .split = split, .label = label});
    return true;
  }

  /// Calls take for the files of a folder, as they come, and returns its folders, in order. tells: what is neither is counted as passed over.
  std::vector<fs::path> list(const fs::path& folder, const Take& take, bool tells = true) {
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    if (error) throw core::DataError("{}: cannot be listed: {}", folder.string(), error.message());
    std::vector<fs::path> folders;
    for (const auto& entry : entries) {
      const fs::path& path = entry.path();
      const char* why = is_hidden(path) ? "hidden (their names begin with a dot)" : nullptr;
      if (!why && entry.is_directory(error)) folders.push_back(path);
      else if (!why && entry.is_regular_file(error)) take(path);
      else if (!why) why = entry.is_symlink() ? "links that lead nowhere" : "neither files nor folders";
      if (why && tells) pass_over(why, path);
    }
    std::sort(folders.begin(), folders.end());
    return folders;
  }

  void pass_over(const char* why, const fs::path& path) { sources_.passed_over[why].add(path.string()); }

  Sources& sources_;
  CategoryNumbers& categories_;
  std::string folder_;       // of the domain that is being read, with its slash
  uint32_t origin_ = 0;      // of its images
  std::set<fs::path> read_;  // folders below the category that is being read, without links
  fs::path first_;           // the first domain that has images
};

/// By label, a number where it has no name.
std::map<int32_t, std::string> category_names(const Sources& sources) {
  std::map<int32_t, std::string> names;
  for (size_t i = 0; i < sources.images.size(); ++i)
    if (const int32_t label = sources.images.label(i); label >= 0 && !names.contains(label))
      names[label] = sources.categories.empty() ? std::to_string(label) : sources.categories[static_cast<size_t>(label)];
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

const char* split_of(const std::string& key, const SplitOptions& options) {
  const double draw = core::Random(options.seed, core::Purpose::split, io::hash64(key)).uniform();
  if (draw < options.test) return "test";
  return draw < options.test + options.val ? "val" : "train";
}

/// Throws DataError where halving the categories has left a domain nothing to train on, and says why.
void check_halves(const Sources& sources, const std::map<std::string, std::set<std::string>>& left_out) {
  std::set<std::string> train;
  for (size_t i = 0; i < sources.images.size(); ++i)
    if (std::string_view(sources.images.split(i)) == "train") train.insert(sources.images.domain(i));
  for (const auto& [domain, categories] : left_out) {
    if (train.contains(domain)) continue;
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
  CategoryNumbers categories;
  Scan scan(sources, categories);
  for (const fs::path& root : roots) scan.root(root);
  ImageTable& images = sources.images;
  images.sort_by_key();
  for (size_t i = 1; i < images.size(); ++i)
    if (images.key(i - 1) == images.key(i))
      throw core::DataError("{} and {} are both \"{}\"; images of one domain need names of their own", images.at(i - 1).file.string(),
                            images.at(i).file.string(), images.key(i));
  finish(sources, categories);
  return sources;
}

void assign_splits(Sources& sources, const SplitOptions& options) {
  SYNCDR_ASSERT(!options.disjoint || sources.domains.size() == 2, "{} domains cannot train on two halves", sources.domains.size());
  ImageTable& images = sources.images;
  const std::map<int32_t, std::string> categories = category_names(sources);
  const std::map<int32_t, bool> in_second = halve(categories, options.seed);
  std::map<std::string, std::set<std::string>> left_out;  // categories by domain
  const size_t before = images.size();
  images.keep_if([&](size_t i) {
    const int32_t label = images.label(i);
    if (!sources.split) images.set_split(i, label < 0 ? "train" : split_of(images.key(i), options));
    const bool second_domain = images.domain(i) == sources.domains.back();
    if (!options.disjoint || label < 0 || in_second.at(label) == second_domain || std::string_view(images.split(i)) != "train") return true;
    left_out[images.domain(i)].insert(categories.at(label));
    return false;
  });
  if (options.disjoint) core::info("{} training images are left out, so that the domains train on different categories", before - images.size());
  check_halves(sources, left_out);
}

}  // namespace syncdr::data_tools
