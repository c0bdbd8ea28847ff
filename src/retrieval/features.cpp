#include "syncdr/retrieval/features.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::retrieval {
namespace {

// images [n, 3, S, S], n <= call -> [call, 3, S, S], channels last.
at::Tensor filled_up(const at::Tensor& images, int64_t call) {
  if (images.size(0) == call) return images.contiguous(at::MemoryFormat::ChannelsLast);
  const auto full = at::zeros({call, images.size(1), images.size(2), images.size(3)}, images.options()).contiguous(at::MemoryFormat::ChannelsLast);
  full.narrow(0, 0, images.size(0)).copy_(images);
  return full;
}

/// encode [call, 3, S, S] normalised -> [call, ...]
template <class Encode> at::Tensor in_calls(Encoder& encoder, const at::Tensor& images, c10::Device device, int64_t call, const Encode& encode) {
  SYNCDR_ASSERT(!encoder->is_training() && images.size(0) > 0 && call > 0, "{} images in calls of {}", images.size(0), call);
  const at::NoGradGuard no_gradient;
  std::vector<at::Tensor> rows(static_cast<size_t>((images.size(0) + call - 1) / call));
  const auto one = [&](int64_t index) {
    const auto part = images.narrow(0, index * call, std::min(call, images.size(0) - index * call));
    rows[static_cast<size_t>(index)] = encode(normalise_images(filled_up(part, call), encoder->normalisation(), device)).narrow(0, 0, part.size(0));
  };
  const auto calls = static_cast<int64_t>(rows.size());
  if (device.is_cpu()) {
    nn::each_in_one_thread(calls, one);
  } else {
    for (int64_t index = 0; index < calls; ++index) one(index);
  }
  return at::cat(rows);
}

}  // namespace

// 16 is past the limits. In one thread 32 images of 64 pixels a call are as fast as 64; 16 are slower by a sixth.
int64_t images_a_call(c10::Device device, int64_t on_gpu) { return device.is_cpu() ? 32 : on_gpu; }

at::Tensor features_of(Encoder& encoder, const at::Tensor& images, c10::Device device, int64_t call) {
  return in_calls(encoder, images, device, call, [&](const at::Tensor& normalised) { return encoder->forward(normalised); });
}

at::Tensor pooled_of(Encoder& encoder, const at::Tensor& images, c10::Device device, int64_t call) {
  return in_calls(encoder, images, device, call, [&](const at::Tensor& normalised) { return encoder->pool(normalised); });
}

}  // namespace syncdr::retrieval
