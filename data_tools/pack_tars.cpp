#include <algorithm>
#include <map>

#include "pack_sources.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"
#include "tar.h"

/// Datasets that lie in WebDataset's shards.
namespace syncdr::data_tools {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// Members that follow each other with one name up to the first dot of their base name, by what stands behind that dot, in lower case.
struct Sample {
  std::string key;
  std::map<std::string, TarMember> parts;
};

class Shard {
 public:
  Shard(const Part& part, Sources& sources)
      : part_(part), sources_(sources),
        origin_(sources.images.origin(
            {.files = part.file.string(), .keys = part.domain + "/", .domain = part.domain, .listed_in = part.file.string(), .archive = true})) {}

  void read() {
    const size_t before = sources_.images.size();
    Sample sample;
    read_tar(part_.file, [&](const TarMember& member) {
      check_text(member.name, part_.file.string());
      const size_t base = member.name.rfind('/') == std::string::npos ? 0 : member.name.rfind('/') + 1, dot = member.name.find('.', base);
      if (dot == std::string::npos || dot == base)
        return sources_.passed_over["members of archives whose names have no extension"].add(part_.file.string() + ": " + member.name);
      const std::string key = member.name.substr(0, dot), extension = lower(member.name.substr(dot + 1));
      if (sample.key != key) {
        if (!sample.parts.empty()) add(sample);
        sample = {.key = key};
      }
      if (!sample.parts.emplace(extension, member).second) throw core::DataError("{}: the sample \"{}\" has two .{}", part_.file.string(), key, extension);
    });
    if (!sample.parts.empty()) add(sample);
    if (sources_.images.size() == before) throw core::DataError("{}: holds no images", part_.file.string());
  }

 private:
  void add(const Sample& sample) {
    const std::string where = fmt::format("{}: {}", part_.file.string(), sample.key);
    const TarMember* found = nullptr;
    std::string extension;
    for (const auto& [name, member] : sample.parts) {
      if (!is_image_extension("." + name)) continue;
      if (found) throw core::DataError("{}: the sample has two images, .{} and .{}", where, extension, name);
      found = &member;
      extension = name;
    }
    if (!found) throw core::DataError("{}: the sample has no image (jpg, png, webp, tif): half of it is missing, or it is of another kind", where);
    if (found->size == 0) throw core::DataError("{}: the image is empty", where);
    const auto cls = sample.parts.find("cls");
    const int32_t label = cls == sample.parts.end() ? -1 : label_of(cls->second, where);
    if (!has_labels_) has_labels_ = label >= 0;
    if (label < 0 && (*has_labels_ || part_.split != "train"))
      throw core::DataError("{}: the sample has no label (.cls), {}", where,
                            *has_labels_ ? "others of the shard have" : "and only images that train may do without");
    // Sets count each split's samples from 0, so that the split belongs to the key.
    const std::string name = fmt::format("{}/{}.{}", part_.split, io::path_inside("", sample.key, where).generic_string(), extension);
    sources_.images.add(origin_, {.name = name, .offset = found->offset, .size = found->size, .split = part_.split, .label = label});
  }

  int32_t label_of(const TarMember& member, const std::string& where) const {
    std::string text(std::min<uint64_t>(member.size, 32), '\0');
    io::InputFile(part_.file).read_at(member.offset, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    text.resize(text.find_last_not_of(" \r\n") + 1);
    const auto label = parse_label(text, where);
    if (!label) throw core::DataError("{}: \"{}\" is no label: .cls holds a whole number from 0", where, text);
    return *label;
  }

  Part part_;
  Sources& sources_;
  uint32_t origin_;
  std::optional<bool> has_labels_;
};

}  // namespace

Sources read_tars(const ListOptions& options) {
  Sources sources;
  for (const std::string& argument : options.tars) Shard(parse_part("--tar", argument), sources).read();
  check_keys(sources.images);
  finish(sources);
  return sources;
}

}  // namespace syncdr::data_tools
