#include "syncdr/nn/pixels.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include "syncdr/core/error.h"

namespace syncdr::nn {

at::Tensor from_bytes(const at::Tensor& bytes, c10::Device device) { return bytes.to(device).to(at::kFloat).div_(127.5).sub_(1); }

at::Tensor normalised(const at::Tensor& images, const at::Tensor& mean, const at::Tensor& deviation) {
  SYNCDR_ASSERT(images.dim() == 4 && images.size(1) == 3 && images.scalar_type() == at::kByte, "images of shape [{}]", fmt::join(images.sizes(), ", "));
  if (!images.is_cpu() || !images.is_contiguous(at::MemoryFormat::ChannelsLast))
    return at::sub(images, mean.view({1, 3, 1, 1})).div_(deviation.view({1, 3, 1, 1}));
  const at::Tensor table = at::arange(256, at::kFloat).view({256, 1}).sub(mean).div_(deviation);  // the very numbers of the other branch
  at::Tensor out = at::empty(images.sizes(), images.options().dtype(at::kFloat), at::MemoryFormat::ChannelsLast);
  const uint8_t* const bytes = images.const_data_ptr<uint8_t>();
  const float* const values = table.const_data_ptr<float>();
  float* const numbers = out.data_ptr<float>();
  at::parallel_for(0, images.numel() / 3, 16384, [&](int64_t first, int64_t last) {
    for (int64_t k = 3 * first; k < 3 * last; k += 3) {
      for (int64_t c = 0; c < 3; ++c) numbers[k + c] = values[3 * bytes[k + c] + c];
    }
  });
  return out;
}

at::Tensor to_bytes(const at::Tensor& pixels) {
  return pixels.to(at::kFloat).nan_to_num(0, 0, 0).add_(1).mul_(127.5).round_().clamp_(0, 255).to(at::kByte).cpu().contiguous();
}

}  // namespace syncdr::nn
