#pragma once
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

/// The layers that all networks here are made of. A new one holds whatever is in its memory: its values are read (nn::load_state) or drawn
/// (nn::initialise) next. LibTorch's would draw some before, which takes seconds for Stable Diffusion's UNet.
namespace syncdr::diffusion {

/// Whether x is the input of an inference on the CPU, for which there are kernels (which of them take its type, they say). Elsewhere (gradients, other
/// devices) LibTorch's operators are used.
bool infers_on_cpu(const at::Tensor& x);

/// A layer that can keep its weights in the order in which a kernel reads them.
class Packable {
 public:
  virtual ~Packable() = default;
  /// Keeps them so in the parameter's place, if a kernel takes this shape on this processor: such a layer serves infers_on_cpu() alone.
  virtual void pack() = 0;

 protected:
  /// Whether the kernel is to compute the outputs of x.
  bool takes(const at::Tensor& x) const;
  void keep(const at::Tensor& packed, at::Tensor& weight);
  at::Tensor packed_;
};

/// A 3x3 convolution. With padding 0 or strides there is no kernel.
class Conv3x3Impl : public torch::nn::Conv2dImpl, public Packable {
 public:
  Conv3x3Impl(int64_t in, int64_t out, int64_t stride = 1, int64_t padding = 1, bool with_bias = true);
  /// x [B, in, H, W]; shift [B or 1, out] for each channel, residual [B, out, h, w]: added where they are defined -> [B, out, h, w]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& shift = {}, const at::Tensor& residual = {});
  /// Of x after nearest upsampling to twice its size, for layers that expect no large maps: [B, in, H, W] -> [B, out, 2 H, 2 W]
  at::Tensor forward_doubled(const at::Tensor& x);
  /// Weights are to be packed for small maps. Said before pack().
  void expect_small_maps() { small_maps_ = true; }
  void pack() override;

 private:
  const at::Tensor& bias_of_packed() const { return bias.defined() ? bias : no_bias_; }

  bool keeps_size_, small_maps_ = false;
  at::Tensor no_bias_;  // zeros in its place where it is packed without
};
TORCH_MODULE(Conv3x3);

/// A linear layer.
class DenseImpl : public torch::nn::LinearImpl, public Packable {
 public:
  DenseImpl(int64_t in, int64_t out, bool with_bias = true);
  /// x [..., in]; residual [..., out]: added where it is defined -> [..., out]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& residual = {});
  /// The first half of the outputs times the GELU of the second (Shazeer, 2020): [..., in] -> [..., out / 2]
  at::Tensor forward_geglu(const at::Tensor& x);
  void pack() override;
};
TORCH_MODULE(Dense);

/// A linear layer over channels, stored as a 1x1 convolution.
class Conv1x1Impl : public torch::nn::Conv2dImpl, public Packable {
 public:
  Conv1x1Impl(int64_t in, int64_t out);
  /// [B, in, H, W] -> [B, out, H, W]
  at::Tensor forward(const at::Tensor& x);
  /// The same of rows: [..., in] -> [..., out]; residual [..., out] is added where it is defined.
  at::Tensor forward_rows(const at::Tensor& rows, const at::Tensor& residual = {});
  void pack() override;
};
TORCH_MODULE(Conv1x1);

/// Packs 3x3 convolutions that a kernel takes (not those of a few channels: images, latents) and the other layers of the network's blocks. What lies around
/// blocks sees a single row (the time) or one text for all steps: it stays with LibTorch's operators. Each weight goes as it is packed: those of Winograd's
/// convolutions take 1.8 times as much, of large tiles 4 times. Without winograd 3x3 convolutions stay as they are.
void pack_weights(torch::nn::Module& network, bool winograd = true);

/// The samples of x over and over, as many as `count`: several texts read each of them. [B, ...] -> [count, ...]
at::Tensor repeated(const at::Tensor& x, int64_t count);

torch::nn::Embedding embedding(int64_t rows, int64_t width);
torch::nn::GroupNorm group_norm(int64_t groups, int64_t channels, double epsilon);
/// Over the last dimension, of size width.
torch::nn::LayerNorm layer_norm(int64_t width, double epsilon);

/// Registers modules (holders or shared pointers) as NAME.0, NAME.1, ... of the parent.
template <class Modules> void register_list(torch::nn::Module& parent, const char* name, const Modules& modules) {
  const auto list = parent.register_module(name, std::make_shared<torch::nn::Module>());
  for (size_t i = 0; i < modules.size(); ++i) list->register_module(std::to_string(i), modules[i]);
}

}  // namespace syncdr::diffusion
