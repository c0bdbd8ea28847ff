#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace syncdr::nn {

/// Pixels as networks take them: uint8 -> float32 in [-1, 1] on the device, any shape.
at::Tensor from_bytes(const at::Tensor& bytes, c10::Device device);
/// And back: [-1, 1] -> uint8 on the CPU, rounded, what lies outside clamped. NaN becomes grey, since casting it is undefined.
at::Tensor to_bytes(const at::Tensor& pixels);

/// Images [B, 3, H, W] uint8, where they lie -> float, (x - mean) / deviation; mean and deviation [3] float on the same device, in units of bytes. Channels
/// last stay last. In one pass on CPUs (of 256 values a channel, all known before), in two kernels on GPUs.
at::Tensor normalised(const at::Tensor& images, const at::Tensor& mean, const at::Tensor& deviation);

}  // namespace syncdr::nn
