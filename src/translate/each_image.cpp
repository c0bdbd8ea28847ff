#include "each_image.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "syncdr/nn/one_thread.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

at::Tensor each_image(const at::Tensor& images, c10::Device device, const ImageCall& call) {
  const at::NoGradGuard no_grad;
  if (!device.is_cpu()) return call(nn::from_bytes(images, device), 0);
  auto outputs = at::empty({images.size(0), 3, images.size(2), images.size(3)}, at::kFloat);
  nn::each_in_one_thread(images.size(0), [&](int64_t i) { outputs[i].copy_(call(nn::from_bytes(images.narrow(0, i, 1), device), i)[0]); });
  return outputs;
}

}  // namespace syncdr::translate
