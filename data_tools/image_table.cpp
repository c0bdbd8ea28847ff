#include "image_table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "pack_sources.h"
#include "syncdr/comm/world.h"
#include "syncdr/core/error.h"
#include "syncdr/io/hash.h"

namespace syncdr::data_tools {
namespace {

constexpr size_t piece = size_t{1} << 20;  // of texts
constexpr std::array<const char*, 5> splits{"", "train", "val", "test", "extra"};

}  // namespace

uint32_t ImageTable::origin(const Origin& origin) {
  const auto [place, fresh] = numbers_.emplace(origin, static_cast<uint32_t>(origins_.size()));
  if (fresh) {
    if (origins_.size() >= uint32_t{1} << 29) throw core::DataError("{}: there are too many lists and folders", origin.files);
    origins_.push_back(origin);
  }
  return place->second;
}

void ImageTable::add(uint32_t origin, const ImageEntry& image) {
  if (entries_.size() >= std::numeric_limits<uint32_t>::max()) throw core::DataError("there are more than {} images", entries_.size());
  std::string text;
  for (const std::string_view part : {image.name, image.prompt, image.mask}) {
    if (part.find('\0') != std::string_view::npos) throw core::DataError("{}: \"{}\" holds a zero byte", origins_[origin].files, std::string(part));
    text.append(part).push_back('\0');
  }
  if (text.size() > piece) throw core::DataError("{}: a name or text of {} bytes", origins_[origin].files, text.size());
  if (texts_.empty() || texts_.back().size() + text.size() > piece) texts_.emplace_back().reserve(piece);
  const uint64_t place = (texts_.size() - 1) * piece + texts_.back().size();
  texts_.back() += text;
  entries_.push_back({.text = place,
                      .offset = image.offset,
                      .size = static_cast<uint32_t>(std::min<uint64_t>(image.size, std::numeric_limits<uint32_t>::max())),  // refused when it is read
                      .label = image.label,
                      .line = image.line,
                      .origin = origin,
                      .split = 0});
  set_split(entries_.size() - 1, image.split);
}

const char* ImageTable::text(const Entry& entry) const { return texts_[entry.text / piece].data() + entry.text % piece; }

Source ImageTable::at(size_t index) const {
  const Entry& entry = entries_[index];
  const Origin& origin = origins_[entry.origin];
  const char* name = text(entry);
  const char* prompt = name + std::strlen(name) + 1;
  const char* mask = prompt + std::strlen(prompt) + 1;
  return {.file = origin.archive ? origin.files : origin.files + name + origin.suffix,
          .offset = entry.offset,
          .size = entry.size,
          .domain = origin.domain,
          .split = splits[entry.split],
          .key = origin.keys + name,
          .label = entry.label,
          .prompt = prompt,
          .mask = *mask == '\0' ? "" : origin.masks + mask};
}

std::string ImageTable::extension(size_t index) const {
  const std::string& suffix = origin_of(index).suffix;
  return extension_of(suffix.empty() ? text(entries_[index]) : "x" + suffix);
}

std::string ImageTable::key(size_t index) const { return origin_of(index).keys + text(entries_[index]); }
const char* ImageTable::split(size_t index) const { return splits[entries_[index].split]; }

const char* ImageTable::mask(size_t index) const {
  const char* prompt = text(entries_[index]) + std::strlen(text(entries_[index])) + 1;
  return prompt + std::strlen(prompt) + 1;
}

std::string ImageTable::where(size_t index) const {
  const Origin& origin = origin_of(index);
  return origin.archive ? fmt::format("{}: {}", origin.listed_in, text(entries_[index])) : fmt::format("{}:{}", origin.listed_in, entries_[index].line);
}

void ImageTable::set_split(size_t index, std::string_view split) {
  const auto found = std::find(splits.begin(), splits.end(), split);
  SYNCDR_ASSERT(found != splits.end(), "\"{}\" is no split", split);
  entries_[index].split = static_cast<uint32_t>(found - splits.begin()) & 7;
}

void ImageTable::keep_if(const std::function<bool(size_t index)>& wanted) {
  size_t kept = 0;
  for (size_t index = 0; index < entries_.size(); ++index)
    if (wanted(index)) entries_[kept++] = entries_[index];
  entries_.resize(kept);
}

void ImageTable::sort_by_key() {
  std::sort(entries_.begin(), entries_.end(), [&](const Entry& a, const Entry& b) {
    // Beginnings of keys are "DOMAIN/", of which none begins with another.
    if (a.origin != b.origin)
      if (const int order = origins_[a.origin].keys.compare(origins_[b.origin].keys); order != 0) return order < 0;
    const int order = std::strcmp(text(a), text(b));
    return order != 0 ? order < 0 : a.origin < b.origin;
  });
}

std::optional<ImageTable::Twins> ImageTable::twins() const {
  struct Hashed {
    uint64_t hash;
    uint32_t index;
  };
  std::optional<Twins> found;
  constexpr uint64_t parts = 4;  // of all hashes: they are not in memory at once
  for (uint64_t part = 0; part < parts; ++part) {
    std::deque<Hashed> order;
    for (size_t index = 0; index < entries_.size(); ++index)
      if (const uint64_t hash = io::hash64(key(index)); hash % parts == part) order.push_back({hash, static_cast<uint32_t>(index)});
    std::sort(order.begin(), order.end(), [](const Hashed& a, const Hashed& b) { return a.hash != b.hash ? a.hash < b.hash : a.index < b.index; });
    for (size_t begin = 0, i = 1; i < order.size(); ++i) {
      if (order[i].hash != order[begin].hash) begin = i;
      for (size_t before = begin; before < i; ++before) {
        if (key(order[before].index) != key(order[i].index)) continue;  // two of one hash
        if (!found || order[i].index < found->second) found = {order[before].index, order[i].index};
        break;
      }
    }
  }
  return found;
}

void ImageTable::share(comm::World& world) {
  constexpr const char* what = "telling all ranks which images there are";
  constexpr size_t at_once = size_t{1} << 16;
  std::vector<int64_t> sizes{std::ssize(origins_), std::ssize(texts_), std::ssize(entries_)};
  sizes = world.broadcast(sizes, 0, what);
  for (int64_t i = 0; i < sizes[0]; ++i) {
    std::string all;
    if (world.is_root()) {
      const Origin& from = origins_[static_cast<size_t>(i)];
      for (const std::string* part : {&from.files, &from.keys, &from.domain, &from.listed_in, &from.masks, &from.suffix}) all.append(*part).push_back('\0');
      all.push_back(from.archive ? '1' : '0');
    }
    all = world.broadcast(all, 0, what);
    if (world.is_root()) continue;
    Origin to;
    size_t at = 0;
    for (std::string* part : {&to.files, &to.keys, &to.domain, &to.listed_in, &to.masks, &to.suffix}) {
      *part = all.c_str() + at;
      at += part->size() + 1;
    }
    to.archive = all.back() == '1';
    origin(to);
  }
  texts_.resize(static_cast<size_t>(sizes[1]));
  for (std::string& text : texts_) text = world.broadcast(text, 0, what);
  entries_.resize(static_cast<size_t>(sizes[2]));
  for (size_t first = 0; first < entries_.size(); first += at_once) {
    const size_t last = std::min(first + at_once, entries_.size());
    std::string bytes((last - first) * sizeof(Entry), '\0');
    for (size_t i = first; i < last; ++i) std::memcpy(bytes.data() + (i - first) * sizeof(Entry), &entries_[i], sizeof(Entry));
    bytes = world.broadcast(bytes, 0, what);
    for (size_t i = first; i < last; ++i) std::memcpy(&entries_[i], bytes.data() + (i - first) * sizeof(Entry), sizeof(Entry));
  }
}

}  // namespace syncdr::data_tools
