#pragma once
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/functional.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/padding.h>

/// Layers that LibTorch's front end lacks or computes slowly in channels-last layout. None has parameters but those of its convolutions.
namespace syncdr::gan {

/// Antialiased downsampling by 2 (Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019): reflection padding by 1, the 3x3 binomial
/// filter, every second pixel. [B, C, H, W] -> [B, C, ceil(H/2), ceil(W/2)].
at::Tensor downsampled(const at::Tensor& input);

/// Its inverse with the 4x4 binomial filter and repeated borders: [B, C, H, W] -> [B, C, 2H, 2W].
at::Tensor upsampled(const at::Tensor& input);

/// Instance normalisation without affine parameters (Ulyanov et al., 2016), epsilon 1e-5.
at::Tensor instance_norm(const at::Tensor& input);

/// input + (pad, convolution, norm, ReLU, pad, convolution, norm), 3x3, reflection padding.
class ResnetBlockImpl : public torch::nn::Module {
 public:
  explicit ResnetBlockImpl(int64_t channels);
  at::Tensor forward(const at::Tensor& input);

 private:
  torch::nn::Sequential block_;
};
TORCH_MODULE(ResnetBlock);

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t padding);

}  // namespace syncdr::gan
