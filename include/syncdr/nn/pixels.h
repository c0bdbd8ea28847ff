#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace syncdr::nn {

/// Pixels as networks take them: uint8 -> float32 in [-1, 1] on the device, any shape.
at::Tensor from_bytes(const at::Tensor& bytes, c10::Device device);
/// And back: [-1, 1] -> uint8 on the CPU, rounded, what lies outside clamped. NaN becomes grey, since casting it is undefined.
at::Tensor to_bytes(const at::Tensor& pixels);

}  // namespace syncdr::nn
