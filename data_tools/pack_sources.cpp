#include "pack_sources.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <unordered_map>

#include "syncdr/core/error.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/utf8.h"

namespace syncdr::data_tools {
namespace fs = std::filesystem;

Part parse_part(const char* option, const std::string& argument) {
  const size_t colon = argument.find(':'), equals = argument.find('=', colon == std::string::npos ? 0 : colon);
  if (colon == std::string::npos || equals == std::string::npos || equals + 1 == argument.size()) {
    throw core::UsageError("{} {}: write DOMAIN:SPLIT=FILE, for example Art:train=art_train.txt", option, argument);
  }
  Part part{argument.substr(0, colon), argument.substr(colon + 1, equals - colon - 1), argument.substr(equals + 1)};
  if (!is_split(part.split)) throw core::UsageError("{} {}: the split is \"{}\"; it can be train, val or test", option, argument, part.split);
  check_domain(part.domain, fmt::format("{} {}", option, argument));
  return part;
}

bool is_split(const std::string& name) { return name == "train" || name == "val" || name == "test"; }

std::string extension_of(const fs::path& file) {
  std::string extension = file.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension;
}

bool is_image_extension(const std::string& extension) {
  static const std::set<std::string> known{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"};
  return known.contains(extension);
}

Source find_image(std::string path, const std::string& domain, const fs::path& root, const std::string& strip, const std::string& where) {
  check_text(path, where);
  if (!strip.empty() && path.starts_with(strip)) {
    path.erase(0, strip.size());
    path.erase(0, path.find_first_not_of('/'));
  }
  if (fs::path(path).is_absolute()) {
    const fs::path relative = fs::path(path).lexically_normal().lexically_relative(fs::absolute(root).lexically_normal() / "");
    if (relative.empty() || *relative.begin() == "..")
      throw core::DataError(
          "{}: \"{}\" is an absolute path outside of {}. Say with --root where the images lie, and with --strip what paths begin with elsewhere", where, path,
          root.string());
    path = relative.string();
  }
  Source image{.file = io::path_inside(root, path, where), .domain = domain};
  const std::string plain = fs::path(path).lexically_normal().generic_string();
  image.key = plain.starts_with(domain + "/") ? plain : domain + "/" + plain;
  return image;
}

std::string read_text(const fs::path& file) {
  std::string text = io::read_file(file, uint64_t{1} << 32);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) throw core::DataError("{}: is UTF-16. Save it as UTF-8", file.string());
  const std::string_view mark = "\xEF\xBB\xBF";
  if (text.starts_with(mark)) text.erase(0, mark.size());
  return text;
}

std::optional<int32_t> parse_label(std::string_view text, const std::string& where) {
  int32_t label = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (text.empty() || end != text.data() + text.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error != std::errc() || label < -1) throw core::DataError("{}: \"{}\" is no label; labels are whole numbers from 0, or -1 for none", where, text);
  return label;
}

void check_keys(const std::vector<Source>& images, const std::vector<std::string>& where) {
  std::unordered_map<std::string_view, size_t> first;
  for (size_t i = 0; i < images.size(); ++i) {
    const auto [seen, fresh] = first.emplace(images[i].key, i);  // a key begins with its domain
    if (!fresh) throw core::DataError("{}: \"{}\" was already listed at {}", where[i], images[i].key, where[seen->second]);
  }
}

void finish(Sources& sources, const std::vector<std::string>& categories) {
  std::set<std::string> domains, names;
  for (const Source& image : sources.images) domains.insert(image.domain);
  for (const std::string& category : categories)
    if (!category.empty()) names.insert(category);
  sources.domains = {domains.begin(), domains.end()};
  sources.categories = {names.begin(), names.end()};
  for (size_t i = 0; i < categories.size(); ++i)
    if (!categories[i].empty()) sources.images[i].label = static_cast<int32_t>(std::distance(names.begin(), names.find(categories[i])));
}

void check_text(const std::string& text, const std::string& where) {
  if (io::is_utf8(text)) return;
  std::string shown;
  for (const char c : text) shown += static_cast<unsigned char>(c) < 0x80 ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  throw core::DataError("{}: \"{}\" is no UTF-8, which names of images are kept in. Rename it (convmv does it for whole folders)", where, shown);
}

void check_domain(const std::string& domain, const std::string& where) {
  check_text(domain, where);
  data::check_name(domain, "domain", where);
  // "a-to-b" names a folder of translations: a domain with such a name would make two folders the same.
  if (domain.find("-to-") != std::string::npos) throw core::DataError("{}: the domain \"{}\" holds \"-to-\"; give it another name", where, domain);
}

}  // namespace syncdr::data_tools
