#include "syncdr/retrieval/features.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::retrieval {
namespace {

// [n, ...], n <= call -> [call, ...]; images channels last.
at::Tensor filled_up(const at::Tensor& inputs, int64_t call) {
  const auto format = inputs.suggest_memory_format();
  if (inputs.size(0) == call) return inputs.contiguous(format);
  std::vector<int64_t> shape = inputs.sizes().vec();
  shape[0] = call;
  const auto full = at::zeros(shape, inputs.options()).contiguous(format);
  full.narrow(0, 0, inputs.size(0)).copy_(inputs);
  return full;
}

/// encode [call, ...] -> [call, D], for all inputs.
template <class Encode> at::Tensor in_calls(Encoder& encoder, const at::Tensor& inputs, c10::Device device, int64_t call, const Encode& encode) {
  SYNCDR_ASSERT(!encoder->is_training() && inputs.size(0) > 0 && call > 0, "{} inputs in calls of {}", inputs.size(0), call);
  const at::NoGradGuard no_gradient;
  std::vector<at::Tensor> rows(static_cast<size_t>((inputs.size(0) + call - 1) / call));
  const auto one = [&](int64_t index) {
    const auto part = inputs.narrow(0, index * call, std::min(call, inputs.size(0) - index * call));
    rows[static_cast<size_t>(index)] = encode(filled_up(part, call)).narrow(0, 0, part.size(0));
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
  return projected_of(encoder, pooled_of(encoder, images, device, call), device, call);
}

at::Tensor pooled_of(Encoder& encoder, const at::Tensor& images, c10::Device device, int64_t call) {
  return in_calls(encoder, images, device, call,
                  [&](const at::Tensor& part) { return encoder->pool(normalise_images(part, encoder->normalisation(), device)); });
}

at::Tensor projected_of(Encoder& encoder, const at::Tensor& pooled, c10::Device device, int64_t call) {
  return in_calls(encoder, pooled, device, call, [&](const at::Tensor& part) { return encoder->project(part.to(device)); });
}

}  // namespace syncdr::retrieval
