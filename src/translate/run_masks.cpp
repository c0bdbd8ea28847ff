#include "run_masks.h"

#include <algorithm>

#include "key_lines.h"
#include "pictures.h"
#include "syncdr/core/error.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/file.h"
#include "syncdr/io/hash.h"

namespace syncdr::translate {
namespace {

constexpr uint64_t max_mask_bytes = uint64_t{256} << 20;

void check_codec(const data::ShardList& rows) {
  for (int64_t i = 0; i < rows.shards(); ++i) {
    const data::ShardReader& shard = rows.shard(i);
    if (shard.rows() > 0 && shard.header().codec != data::Codec::png)
      throw core::DataError(
          "translate.elite.masks = \"alpha\": the images of {} are {}, which has no alpha. Pack PNGs with --codec png and without --size, or "
          "name a file of masks",
          shard.path().string(), data::codec_name(shard.header().codec));
  }
}

data::Image read_mask(const std::filesystem::path& path) {
  const io::InputFile file(path);
  if (file.size() > max_mask_bytes) throw core::DataError("has {} bytes, at most {} are read", file.size(), max_mask_bytes);
  std::vector<uint8_t> bytes(file.size());
  file.read_at(0, bytes);
  return data::decode(bytes, data::detect_codec(bytes));
}

/// Of each pixel of a mask's picture, how much of it is the object.
std::vector<uint8_t> values_of(const data::Image& mask) {
  if (!mask.alpha.empty()) return mask.alpha;
  std::vector<uint8_t> values(mask.pixels.size() / 3);
  for (size_t i = 0; i < values.size(); ++i) values[i] = *std::max_element(&mask.pixels[3 * i], &mask.pixels[3 * i] + 3);
  return values;
}

/// Whether both show the same, at perhaps another size: sides are rounded when an image shrinks.
bool same_shape(const data::Image& a, const data::Image& b) {
  return std::abs(a.height * b.width - b.height * a.width) <= std::max({a.height, a.width, b.height, b.width});
}

}  // namespace

RunMasks::RunMasks(const std::string& masks, const data::ShardList& rows) : alpha_(masks == "alpha") {
  if (alpha_) check_codec(rows);
  if (alpha_ || masks.empty()) return;
  const KeyLines lines = read_key_lines(masks, "PATH");
  for (int64_t row = 0; row < rows.rows(); ++row) {
    files_.push_back(std::filesystem::path(masks).parent_path() / line_for(lines, rows.key(row), masks));
    if (!std::filesystem::is_regular_file(files_.back()))
      throw core::DataError("{}: the mask of \"{}\" is not there: {}", masks, rows.key(row), files_.back().string());
  }
}

void RunMasks::fill(int64_t row, const data::Image& image, at::Tensor plane) const {
  if (alpha_) {
    if (image.alpha.empty()) throw core::DataError("the image has no alpha channel, so no mask");
    fill_mask(image.alpha, image.height, image.width, plane);
  } else {
    const std::filesystem::path& file = files_.at(static_cast<size_t>(row));
    try {
      const data::Image mask = read_mask(file);
      if (!same_shape(mask, image))
        throw core::DataError("has {} x {} pixels, the image {} x {}: they must show the same", mask.width, mask.height, image.width, image.height);
      fill_mask(values_of(mask), mask.height, mask.width, plane);
    } catch (const core::DataError& error) {
      throw core::DataError("the mask {}: {}", file.string(), error.what());
    }
  }
  if (!plane.any().item<bool>()) throw core::DataError("the mask shows no object");
}

RunMasks masks_for(const TranslateConfig& config, bool takes_masks, const data::ShardList& rows) {
  return takes_masks ? RunMasks(config.elite.masks, rows) : RunMasks();
}

std::map<std::string, std::string> RunMasks::provenance() const {
  if (!given()) return {};
  if (alpha_) return {{"masks", "alpha"}};
  std::string hashes;
  for (const auto& file : files_) {
    if (core::stop_requested()) throw core::StopRequested("stopped on request while masks were read; nothing was made yet");
    hashes += io::hash_file(file) + "\n";
  }
  return {{"masks", io::hash128(hashes)}};
}

}  // namespace syncdr::translate
