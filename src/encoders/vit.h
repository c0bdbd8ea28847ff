#pragma once
#include <torch/nn/module.h>

#include <memory>
#include <string>
#include <vector>

#include "syncdr/encoders/backbone.h"

/// Vision transformers (Dosovitskiy et al., ICLR 2021), as ImageNet classifiers, CLIP (Radford et al., ICML 2021), DINO (Caron et al., ICCV 2021),
/// DINOv2 (Oquab et al., 2023; registers: Darcet et al., ICLR 2024), DINOv3 (Simeoni et al., 2025) and SigLIP (Zhai et al., ICCV 2023; Tschannen et
/// al., 2025) have them.
namespace syncdr::encoders {

/// What tells one from another.
struct VitOptions {
  enum Activation { gelu, tanh_gelu, quick_gelu };                           ///< quick: x sigmoid(1.702 x)
  enum Positions { of_all_tokens, of_patches, rotary };                      ///< learned for class token and patches, or for patches; RoPE in each block
  enum Pooling { class_token, mean_of_patches, mean_then_norm, attention };  ///< the first two after the last norm; attention: no class token
  enum QkvBias { whole, none, no_keys };

  int64_t patch = 16;  ///< its side in pixels
  int64_t width = 768, depth = 12, heads = 12;
  int64_t hidden = 0;     ///< of the layers' perceptrons; 0: 4 width
  bool gated = false;     ///< perceptrons are SwiGLU (Shazeer, 2020) in place of two layers with an activation between
  int64_t registers = 0;  ///< tokens that stand for no patch, beside the class token
  double epsilon = 1e-6;  ///< of the norms
  Activation activation = gelu;
  Positions positions = of_all_tokens;
  QkvBias qkv_bias = whole;
  bool norm_first = false;  ///< before the first block too, and then no bias of patches: CLIP
  bool layer_scale = false;
  Pooling pooling = class_token;
  int64_t projection = 0;  ///< features behind CLIP's projection, "head"; 0: none

  bool has_class_token() const { return pooling != attention; }
  int64_t tokens_before_patches() const { return (has_class_token() ? 1 : 0) + registers; }
};

constexpr VitOptions vit_small(int64_t patch) { return {.patch = patch, .width = 384, .heads = 6}; }
constexpr VitOptions vit_base(int64_t patch) { return {.patch = patch}; }
constexpr VitOptions vit_large(int64_t patch) { return {.patch = patch, .width = 1024, .depth = 24, .heads = 16}; }
constexpr VitOptions vit_huge(int64_t patch) { return {.patch = patch, .width = 1280, .depth = 32, .heads = 20}; }
constexpr VitOptions vit_so400m(int64_t patch) { return {.patch = patch, .width = 1152, .depth = 27, .heads = 16, .hidden = 4304}; }

/// What is the same in a family, whatever the network's size.
constexpr VitOptions gated(VitOptions options) {
  options.gated = true;
  return options;
}

constexpr VitOptions with_fc_norm(VitOptions options) {
  options.pooling = VitOptions::mean_then_norm;
  return options;
}

constexpr VitOptions clip(VitOptions options, VitOptions::Activation activation, int64_t projection) {
  options.epsilon = 1e-5;
  options.activation = activation;
  options.norm_first = true;
  options.projection = projection;
  return options;
}

constexpr VitOptions dinov2(VitOptions options, int64_t registers = 0) {
  options.layer_scale = true;
  options.registers = registers;
  if (registers > 0) options.positions = VitOptions::of_patches;
  return options;
}

constexpr VitOptions dinov3(VitOptions options, VitOptions::QkvBias bias = VitOptions::none) {
  options.layer_scale = true;
  options.registers = 4;
  options.epsilon = 1e-5;
  options.positions = VitOptions::rotary;
  options.qkv_bias = bias;
  options.pooling = VitOptions::mean_of_patches;
  return options;
}

constexpr VitOptions siglip(VitOptions options, VitOptions::Activation activation = VitOptions::gelu) {
  options.activation = activation;
  options.positions = VitOptions::of_patches;
  options.pooling = VitOptions::attention;
  return options;
}

/// A weight, and perhaps a bias, as linear layers, convolutions and norms have them. Norms hold ones and zeros, biases zeros; other weights hold
/// whatever is in their memory until they are drawn or read.
class Affine : public torch::nn::Module {
 public:
  Affine(at::IntArrayRef shape, bool with_bias);
  at::Tensor weight, bias;  // `shape`, [shape[0]] or undefined
};

class VitBlock;
class AttentionPool;

class Vit : public Backbone {
 public:
  /// name: for messages. size: side of the images, pixels. Throws UsageError if patches do not fill it.
  Vit(std::string_view name, const VitOptions& options, int64_t size);
  at::Tensor forward(const at::Tensor& images) override;
  int64_t features() const override { return options_.projection > 0 ? options_.projection : options_.width; }
  std::vector<std::vector<std::string>> layers() const override;
  bool takes(int64_t side) const override { return side == size_; }
  io::NamedTensors own_names(io::NamedTensors file, const std::string& where) const override;

  const VitOptions& options() const { return options_; }

 private:
  at::Tensor embed(const at::Tensor& images) const;
  at::Tensor pool(const at::Tensor& tokens) const;

  std::string name_;
  VitOptions options_;
  int64_t size_, side_;  // of the images, in pixels and in patches
  std::shared_ptr<Affine> patches_, first_norm_, norm_, projection_;
  std::shared_ptr<AttentionPool> attention_pool_;
  at::Tensor class_token_, registers_, positions_;
  std::vector<std::shared_ptr<VitBlock>> blocks_;
};

/// For a row of the table of backbones.
template <VitOptions options> std::shared_ptr<Backbone> make_vit(const BackboneRow& row, int64_t size) {
  return std::make_shared<Vit>(row.name, options, size);
}

}  // namespace syncdr::encoders
