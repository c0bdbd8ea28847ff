#include "pack_sources.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"

namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

bool is_image(const fs::path& file) {
  std::string extension = file.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

/// Sub-folders by name, hidden ones left out.
std::vector<fs::path> folders_in(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) throw core::DataError("{}: cannot be listed: {}", folder.string(), error.message());
  std::vector<fs::path> folders;
  for (const auto& entry : entries) {
    if (entry.is_directory() && !is_hidden(entry.path())) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

void check_domain(const std::string& domain, const std::string& where) {
  data::check_name(domain, "domain", where);
  // "a-to-b" names a folder of translations: a domain with such a name would make two folders the same.
  if (domain.find("-to-") != std::string::npos) throw core::DataError("{}: the domain \"{}\" holds \"-to-\"; give it another name", where, domain);
}

/// The images of one category folder, any depth below it. Returns how many other files there were.
int64_t add_category(const fs::path& category, const std::string& domain, std::vector<std::pair<Source, std::string>>& found) {
  int64_t others = 0;
  for (const auto& entry : fs::recursive_directory_iterator(category)) {
    if (!entry.is_regular_file() || is_hidden(entry.path())) continue;
    if (!is_image(entry.path())) {
      ++others;
      continue;
    }
    const std::string name = category.filename().string();
    found.push_back(
        {{.file = entry.path(), .domain = domain, .key = domain + "/" + name + "/" + entry.path().lexically_relative(category).generic_string()}, name});
  }
  return others;
}

/// Position of each category in an order by chance: the first half trains in the first domain, the other in the second.
std::map<int32_t, bool> halve(const std::vector<std::string>& categories, uint64_t seed) {
  std::vector<std::pair<uint64_t, int32_t>> order;
  for (size_t i = 0; i < categories.size(); ++i) {
    core::Random random(seed, core::Purpose::split, io::hash64("category " + categories[i]));
    order.emplace_back(uint64_t{random.bits()} << 32 | random.bits(), static_cast<int32_t>(i));
  }
  std::sort(order.begin(), order.end());
  std::map<int32_t, bool> second;
  for (size_t i = 0; i < order.size(); ++i) second[order[i].second] = i >= (order.size() + 1) / 2;
  return second;
}

std::string split_of(const Source& image, const SplitOptions& options) {
  const double draw = core::Random(options.seed, core::Purpose::split, io::hash64(image.key)).uniform();
  if (draw < options.test) return "test";
  return draw < options.test + options.val ? "val" : "train";
}

/// "DOMAIN:SPLIT=FILE", taken apart.
struct ListArgument {
  std::string domain, split;
  fs::path file;
};

ListArgument parse_argument(const std::string& argument) {
  const size_t colon = argument.find(':'), equals = argument.find('=', colon == std::string::npos ? 0 : colon);
  if (colon == std::string::npos || equals == std::string::npos || equals + 1 == argument.size()) {
    throw core::UsageError("--list {}: write DOMAIN:SPLIT=FILE, for example Art:train=art_train.txt", argument);
  }
  ListArgument list{argument.substr(0, colon), argument.substr(colon + 1, equals - colon - 1), argument.substr(equals + 1)};
  if (list.split != "train" && list.split != "val" && list.split != "test") {
    throw core::UsageError("--list {}: the split is \"{}\"; it can be train, val or test", argument, list.split);
  }
  check_domain(list.domain, "--list " + argument);
  return list;
}

int32_t parse_label(std::string_view text, const std::string& where) {
  int32_t label = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (error != std::errc() || end != text.data() + text.size() || label < 0) {
    throw core::DataError("{}: \"{}\" is no label; a line is \"path label\", the label a whole number from 0", where, text);
  }
  return label;
}

Source parse_line(std::string_view line, const ListArgument& list, const fs::path& root, const std::string& where) {
  const size_t space = line.find_last_of(" \t");  // paths may hold spaces themselves
  if (space == std::string_view::npos) throw core::DataError("{}: \"{}\" has no label; a line is \"path label\"", where, line);
  const std::string path(line.substr(0, line.find_last_not_of(" \t", space) + 1));
  Source image{.file = io::path_inside(root, path, where), .domain = list.domain, .split = list.split};
  image.label = parse_label(line.substr(space + 1), where);
  const std::string plain = fs::path(path).lexically_normal().generic_string();
  image.key = plain.starts_with(list.domain + "/") ? plain : list.domain + "/" + plain;
  std::error_code error;
  if (!fs::is_regular_file(image.file, error)) throw core::DataError("{}: {} is missing. Is --root right?", where, image.file.string());
  return image;
}

/// first: where each key was seen first, over all lists.
void read_list(const ListArgument& list, const fs::path& root, std::map<std::string, std::string>& first, std::vector<Source>& images) {
  const std::string text = io::read_file(list.file, uint64_t{1} << 28);
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", list.file.string(), number);
    Source image = parse_line(line, list, root, where);
    const auto [seen, fresh] = first.emplace(image.key, where);
    if (!fresh) throw core::DataError("{}: \"{}\" was already listed at {}", where, image.key, seen->second);
    images.push_back(std::move(image));
  }
}

void check_training(const Sources& sources) {
  for (const std::string& domain : sources.domains) {
    const bool trains =
        std::any_of(sources.images.begin(), sources.images.end(), [&](const Source& image) { return image.domain == domain && image.split == "train"; });
    if (!trains) core::warn("domain \"{}\" has no training images", domain);
  }
}

}  // namespace

Sources scan_folders(const std::vector<fs::path>& roots) {
  std::vector<std::pair<Source, std::string>> found;  // with the category's name
  int64_t others = 0;
  for (const fs::path& root : roots) {
    const size_t before = found.size();
    for (const fs::path& domain : folders_in(root)) {
      check_domain(domain.filename().string(), root.string());
      for (const fs::path& category : folders_in(domain)) others += add_category(category, domain.filename().string(), found);
    }
    if (found.size() == before) throw core::DataError("{}: has no images as DOMAIN/CATEGORY/IMAGE.jpg (jpeg, png)", root.string());
  }
  if (others > 0) core::warn("{} files that are neither .jpg, .jpeg nor .png are passed over", others);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first.key < b.first.key; });
  std::set<std::string> domains, categories;
  for (const auto& [image, category] : found) {
    domains.insert(image.domain);
    categories.insert(category);
  }
  Sources sources{.domains = {domains.begin(), domains.end()}, .categories = {categories.begin(), categories.end()}};
  for (auto& [image, category] : found) {
    image.label = static_cast<int32_t>(std::distance(categories.begin(), categories.find(category)));
    if (!sources.images.empty() && sources.images.back().key == image.key) {
      throw core::DataError("{} and {} are both \"{}\"; images of one domain need names of their own", sources.images.back().file.string(), image.file.string(),
                            image.key);
    }
    sources.images.push_back(std::move(image));
  }
  return sources;
}

void assign_splits(Sources& sources, const SplitOptions& options) {
  SYNCDR_ASSERT(!options.disjoint || sources.domains.size() == 2, "{} domains cannot train on two halves", sources.domains.size());
  const std::map<int32_t, bool> in_second = halve(sources.categories, options.seed);
  std::vector<Source> kept;
  for (Source& image : sources.images) {
    image.split = split_of(image, options);
    const bool second_domain = image.domain == sources.domains.back();
    if (options.disjoint && image.split == "train" && in_second.at(image.label) != second_domain) continue;
    kept.push_back(std::move(image));
  }
  if (options.disjoint) {
    core::info("{} training images are left out, so that the domains train on different categories", sources.images.size() - kept.size());
  }
  sources.images = std::move(kept);
  check_training(sources);
}

Sources read_lists(const std::vector<std::string>& arguments, const fs::path& root) {
  Sources sources;
  std::map<std::string, std::string> first;
  std::set<std::string> domains;
  for (const std::string& argument : arguments) {
    const ListArgument list = parse_argument(argument);
    const fs::path folder = list.file.has_parent_path() ? list.file.parent_path() : fs::path(".");
    read_list(list, root.empty() ? folder : root, first, sources.images);
    domains.insert(list.domain);
  }
  sources.domains = {domains.begin(), domains.end()};
  check_training(sources);
  return sources;
}

}  // namespace syncdr::data_tools
