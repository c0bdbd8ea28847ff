#include "pack_sources.h"

#include <algorithm>
#include <charconv>
#include <set>

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

void PassedOver::add(const std::string& name) {
  constexpr size_t shown = 3;
  ++count;
  some.insert(name);
  if (some.size() > shown) some.erase(std::prev(some.end()));
}

int32_t CategoryNumbers::of(const std::string& name) { return name.empty() ? -1 : numbers_.emplace(name, static_cast<int32_t>(numbers_.size())).first->second; }

Paths::Paths(const ListOptions& options, fs::path listed_in)
    : root_(!options.root.empty()         ? options.root
            : listed_in.has_parent_path() ? listed_in.parent_path()
                                          : fs::path(".")),
      listed_in_(std::move(listed_in)), strip_(options.strip) {}

std::string Paths::plain(std::string path, const std::string& where) const {
  check_text(path, where);
  if (!strip_.empty() && path.starts_with(strip_)) {
    path.erase(0, strip_.size());
    path.erase(0, path.find_first_not_of('/'));
  }
  if (fs::path(path).is_absolute()) {
    const fs::path relative = fs::path(path).lexically_normal().lexically_relative(fs::absolute(root_).lexically_normal() / "");
    if (relative.empty() || *relative.begin() == "..")
      throw core::DataError(
          "{}: \"{}\" is an absolute path outside of {}. Say with --root where the images lie, and with --strip what paths begin with elsewhere", where, path,
          root_.string());
    path = relative.string();
  }
  io::path_inside(root_, path, where);
  return fs::path(path).lexically_normal().generic_string();
}

Found Paths::image(ImageTable& images, const std::string& path, const std::string& domain, const std::string& key, const std::string& where) const {
  const std::string inside = plain(path, where), keys = domain + "/";
  if (!key.empty()) {
    const std::string name = key.starts_with(keys) ? key.substr(keys.size()) : "", extension = fs::path(inside).extension();
    for (const std::string& suffix : {std::string(), extension})  // of a picture that is stored in another format than its name says
      if (!name.empty() && inside.ends_with("/" + name + suffix)) {
        const std::string folder = (root_ / inside.substr(0, inside.size() - name.size() - suffix.size())).string();
        return {images.origin({.files = folder, .keys = keys, .domain = domain, .listed_in = listed_in_.string(), .suffix = suffix}), name, root_ / inside};
      }
    throw core::DataError("{}: the key \"{}\" is none of an image of {} in {}. The table is no longer as it was written", where, key, domain, path);
  }
  const bool named = inside.starts_with(keys);  // the domain is the folder already
  const std::string root = (root_ / "").string(), folder = named ? root + keys : root;
  const uint32_t origin = images.origin({.files = folder, .keys = keys, .domain = domain, .listed_in = listed_in_.string(), .masks = root});
  return {origin, named ? inside.substr(keys.size()) : inside, root_ / inside};
}

std::string Paths::mask(const std::string& path, const std::string& where) const {
  if (path.empty()) return "";
  const std::string inside = plain(path, where);
  std::error_code error;
  if (!fs::is_regular_file(root_ / inside, error)) throw core::DataError("{}: the mask {} is missing", where, (root_ / inside).string());
  return inside;
}

std::optional<int32_t> parse_label(std::string_view text, const std::string& where) {
  int32_t label = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (text.empty() || end != text.data() + text.size() || error == std::errc::invalid_argument) return std::nullopt;
  if (error != std::errc() || label < -1) throw core::DataError("{}: \"{}\" is no label; labels are whole numbers from 0, or -1 for none", where, text);
  return label;
}

void check_keys(const ImageTable& images) {
  if (const auto twins = images.twins())  // a key begins with its domain
    throw core::DataError("{}: \"{}\" was already listed at {}", images.where(twins->second), images.key(twins->second), images.where(twins->first));
}

void finish(Sources& sources, const CategoryNumbers& categories) {
  ImageTable& images = sources.images;
  std::vector<int32_t> sorted(categories.all().size());
  for (const auto& [name, number] : categories.all()) {
    sorted[static_cast<size_t>(number)] = static_cast<int32_t>(sources.categories.size());
    sources.categories.push_back(name);
  }
  std::set<std::string_view> domains;
  for (size_t i = 0; i < images.size(); ++i) {
    domains.insert(images.domain(i));
    if (!sorted.empty() && images.label(i) >= 0) images.set_label(i, sorted[static_cast<size_t>(images.label(i))]);
  }
  sources.domains = {domains.begin(), domains.end()};
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
