#include "scheduler_float.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/scalar_tensor.h>

namespace syncdr::diffusion {
namespace {

at::Tensor scalar(float value) { return at::scalar_tensor(value, at::TensorOptions(at::kCPU).dtype(at::kFloat)); }

}  // namespace

float root(float value) { return scalar(value).pow(0.5).item<float>(); }
float log_of(float value) { return scalar(value).log().item<float>(); }
float exp_of(float value) { return scalar(value).exp().item<float>(); }

}  // namespace syncdr::diffusion
