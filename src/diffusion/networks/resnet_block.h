#pragma once
#include "layers.h"

/// Convolutional blocks that UNet and autoencoder share. Parameters are named as in diffusers.
namespace syncdr::diffusion {

struct ResnetBlockConfig {
  int64_t in = 0, out = 0;
  int64_t groups = 32;
  double epsilon = 1e-6;
  int64_t time_width = 0;   ///< 0: does not depend on a time
  double output_scale = 1;  ///< what the sum is divided by
  bool small_maps = false;  ///< expects them
};

/// norm, SiLU, convolution, plus time, norm, SiLU, convolution, plus input (ResnetBlock2D).
class ResnetBlockImpl : public torch::nn::Module {
 public:
  explicit ResnetBlockImpl(const ResnetBlockConfig& config);
  /// x [B, in, H, W], time [B or 1, time_width] behind its activation, or undefined -> [B, out, H, W]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& time = {});

 private:
  double output_scale_;
  torch::nn::GroupNorm norm1_, norm2_;
  Conv3x3 conv1_, conv2_;
  Conv1x1 shortcut_{nullptr};
  Dense time_{nullptr};
};
TORCH_MODULE(ResnetBlock);

/// A 3x3 convolution of stride 2. Padding 0: one row and one column of zeros at the end only (the autoencoder's).
class DownsampleImpl : public torch::nn::Module {
 public:
  DownsampleImpl(int64_t channels, int64_t padding);
  at::Tensor forward(const at::Tensor& x);

 private:
  int64_t padding_;
  Conv3x3 conv_;
};
TORCH_MODULE(Downsample);

/// The nearest pixel's value, then a 3x3 convolution.
class UpsampleImpl : public torch::nn::Module {
 public:
  explicit UpsampleImpl(int64_t channels);
  /// [B, C, h, w] -> [B, C, height, width]
  at::Tensor forward(const at::Tensor& x, int64_t height, int64_t width);

 private:
  Conv3x3 conv_;
};
TORCH_MODULE(Upsample);

/// A group norm, and SiLU behind it where it is asked for. [B, C, H, W] -> the same
at::Tensor normalized(torch::nn::GroupNorm& norm, const at::Tensor& x, bool with_silu = true);

}  // namespace syncdr::diffusion
