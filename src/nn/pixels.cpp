#include "syncdr/nn/pixels.h"

namespace syncdr::nn {

at::Tensor from_bytes(const at::Tensor& bytes, c10::Device device) { return bytes.to(device).to(at::kFloat).div_(127.5).sub_(1); }

at::Tensor to_bytes(const at::Tensor& pixels) {
  return pixels.to(at::kFloat).nan_to_num(0, 0, 0).add_(1).mul_(127.5).round_().clamp_(0, 255).to(at::kByte).cpu().contiguous();
}

}  // namespace syncdr::nn
