#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <functional>

/// How a network is called so that an image's result depends on that image alone. Private to translate.
namespace syncdr::translate {

/// images [k, C, S, S] float32 in [-1, 1] on the device: those from number `first` of the batch on -> [k, 3, S, S] float32.
using ImageCall = std::function<at::Tensor(const at::Tensor& images, int64_t first)>;

/// [B, C, S, S] uint8 on the CPU -> [B, 3, S, S] float32 on the device, without gradients. On a CPU each image is a call of its own in one thread,
/// several images at a time; elsewhere the batch, whose shape is fixed, is one call.
at::Tensor each_image(const at::Tensor& images, c10::Device device, const ImageCall& call);

}  // namespace syncdr::translate
