#pragma once
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

/// The layers that all networks here are made of.
namespace syncdr::diffusion {

/// Whether x is the input of an inference on the CPU in float32, for which there are kernels. Elsewhere (gradients, other dtypes and devices) LibTorch's
/// operators are used.
bool infers_on_cpu(const at::Tensor& x);

/// A 3x3 convolution of stride 1 and padding 1 that can keep transformed weights.
class Conv3x3Impl : public torch::nn::Conv2dImpl {
 public:
  using Conv2dImpl::Conv2dImpl;
  /// x [B, in, H, W]; shift [B or 1, out] for each channel, residual [B, out, H, W]: added where they are defined -> [B, out, H, W]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& shift = {}, const at::Tensor& residual = {});
  void pack();

 private:
  at::Tensor packed_;
};
TORCH_MODULE(Conv3x3);

/// A linear layer that can keep packed weights.
class DenseImpl : public torch::nn::LinearImpl {
 public:
  using LinearImpl::LinearImpl;
  /// x [..., in]; residual [..., out]: added where it is defined -> [..., out]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual = {});
  /// The first half of the outputs times the GELU of the second (Shazeer, 2020): [..., in] -> [..., out / 2]
  at::Tensor forward_geglu(const at::Tensor& x);
  void pack();

 private:
  at::Tensor packed_;
};
TORCH_MODULE(Dense);

/// A linear layer over channels that can keep packed weights, stored as a 1x1 convolution.
class Conv1x1Impl : public torch::nn::Conv2dImpl {
 public:
  using Conv2dImpl::Conv2dImpl;
  /// [B, in, H, W] -> [B, out, H, W]
  at::Tensor forward(const at::Tensor& x);
  /// The same of rows: [..., in] -> [..., out]; residual [..., out] is added where it is defined.
  at::Tensor forward_rows(const at::Tensor& rows, const at::Tensor& residual = {});
  void pack();

 private:
  at::Tensor packed_;
};
TORCH_MODULE(Conv1x1);

/// Makes the network's layers ready for inference on the CPU in float32. The parameters may not change from then on; they stay as they are.
void pack_weights(torch::nn::Module& network);

torch::nn::Linear linear(int64_t in, int64_t out, bool bias = true);
Dense dense(int64_t in, int64_t out, bool bias = true);
torch::nn::Conv2d conv1x1(int64_t in, int64_t out);
Conv1x1 packable_conv1x1(int64_t in, int64_t out);
torch::nn::Conv2d conv3x3(int64_t in, int64_t out, int64_t stride = 1, int64_t padding = 1);
Conv3x3 packable_conv3x3(int64_t in, int64_t out);
torch::nn::Embedding embedding(int64_t rows, int64_t width);
torch::nn::GroupNorm group_norm(int64_t groups, int64_t channels, double epsilon);

/// While one lives, layers that this thread makes hold whatever is in their memory: for networks whose weights are read next. Drawing initial values
/// takes seconds for Stable Diffusion's UNet.
class WithoutInitialValues {
 public:
  WithoutInitialValues();
  ~WithoutInitialValues();
  WithoutInitialValues(const WithoutInitialValues&) = delete;
  WithoutInitialValues& operator=(const WithoutInitialValues&) = delete;

 private:
  bool before_;
};

/// A network of this configuration without initial values.
template <class Network, class Config>
Network made_for_loading(const Config& config) {
  const WithoutInitialValues memory_only;
  return Network(config);
}

}  // namespace syncdr::diffusion
