#include <algorithm>
#include <map>

#include "pack_sources.h"
#include "syncdr/core/error.h"
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
  Shard(Part part, Sources& sources) : part_(std::move(part)), sources_(sources) {}

  void read(std::vector<std::string>& where) {
    for (const Sample& sample : samples()) {
      where.push_back(fmt::format("{}: {}", part_.file.string(), sample.key));
      sources_.images.push_back(image(sample, where.back()));
    }
  }

 private:
  std::vector<Sample> samples() {
    std::vector<Sample> samples;
    for (TarMember& member : read_tar(part_.file)) {
      check_text(member.name, part_.file.string());
      const size_t base = member.name.rfind('/') == std::string::npos ? 0 : member.name.rfind('/') + 1, dot = member.name.find('.', base);
      if (dot == std::string::npos || dot == base) {
        sources_.passed_over["members of archives whose names have no extension"].push_back(part_.file.string() + ": " + member.name);
        continue;
      }
      const std::string key = member.name.substr(0, dot), extension = lower(member.name.substr(dot + 1));
      if (samples.empty() || samples.back().key != key) samples.push_back({.key = key});
      if (!samples.back().parts.emplace(extension, member).second)
        throw core::DataError("{}: the sample \"{}\" has two .{}", part_.file.string(), key, extension);
    }
    return samples;
  }

  Source image(const Sample& sample, const std::string& where) {
    const TarMember* found = nullptr;
    std::string extension;
    for (const auto& [name, member] : sample.parts) {
      if (!is_image_extension("." + name)) continue;
      if (found) throw core::DataError("{}: the sample has two images, .{} and .{}", where, extension, name);
      found = &member;
      extension = name;
    }
    if (!found) throw core::DataError("{}: the sample has no image (jpg, png, webp, tif): half of it is missing, or it is of another kind", where);
    Source image{.file = part_.file, .offset = found->offset, .size = found->size, .domain = part_.domain, .split = part_.split};
    if (image.size == 0) throw core::DataError("{}: the image is empty", where);
    image.key = fmt::format("{}/{}.{}", part_.domain, std::filesystem::path(sample.key).lexically_normal().generic_string(), extension);
    const auto label = sample.parts.find("cls");
    if (label != sample.parts.end()) image.label = label_of(label->second, where);
    if (!has_labels_) has_labels_ = image.label >= 0;
    if (image.label < 0 && (*has_labels_ || part_.split != "train"))
      throw core::DataError("{}: the sample has no label (.cls), {}", where,
                            *has_labels_ ? "others of the shard have" : "and only images that train may do without");
    return image;
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
  std::optional<bool> has_labels_;
};

}  // namespace

Sources read_tars(const ListOptions& options) {
  Sources sources;
  std::vector<std::string> where;
  for (const std::string& argument : options.tars) Shard(parse_part("--tar", argument), sources).read(where);
  check_keys(sources.images, where);
  finish(sources, {});
  return sources;
}

}  // namespace syncdr::data_tools
