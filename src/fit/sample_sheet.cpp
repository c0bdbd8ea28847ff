#include "sample_sheet.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include "syncdr/core/error.h"
#include "syncdr/data/loader.h"
#include "syncdr/io/atomic_file.h"

namespace syncdr::fit {

at::Tensor sample_images(const data::ShardList& list, const data::AugmentConfig& config, int64_t most) {
  const int64_t count = std::min(most, list.rows());
  std::vector<at::Tensor> images;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = i * list.rows() / count;
    images.push_back(data::load_evaluation(list, row, row + 1, config));
  }
  return at::cat(images);
}

void write_sample_sheet(const std::filesystem::path& file, const at::Tensor& images, const at::Tensor& translations) {
  SYNCDR_ASSERT(images.sizes() == translations.sizes() && images.dim() == 4, "images [{}], translations [{}]", fmt::join(images.sizes(), ", "),
                fmt::join(translations.sizes(), ", "));
  const int64_t count = images.size(0), side = images.size(2), columns = std::min<int64_t>(4, count), rows = (count + columns - 1) / columns;
  at::Tensor sheet = at::full({rows * side, columns * 2 * side, 3}, 255, at::kByte);
  for (int64_t i = 0; i < count; ++i) {
    at::Tensor pair = sheet.narrow(0, i / columns * side, side).narrow(1, i % columns * 2 * side, 2 * side);
    pair.copy_(at::cat({images[i], translations[i]}, 2).permute({1, 2, 0}));
  }
  const auto* pixels = sheet.const_data_ptr<uint8_t>();
  const data::Image image{sheet.size(0), sheet.size(1), {pixels, pixels + sheet.numel()}};
  const auto png = data::encode(image, data::Codec::png);
  io::write_file(file, {reinterpret_cast<const char*>(png.data()), png.size()});
}

}  // namespace syncdr::fit
