#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/pimpl.h>

#include <vector>

#include "syncdr/core/config.h"

/// The networks and losses of CUT (Park, Efros, Zhang, Zhu: "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020). Module
/// order and parameter names follow the published model, so that its weights load.
namespace syncdr::gan {

struct GeneratorConfig {
  int64_t width = 64;
  int64_t blocks = 9;
  std::vector<int64_t> nce_layers = {0, 4, 8, 12, 16};

  void visit(core::Fields& field) {
    field(width, "width", "channels after the first convolution", core::between(1, 512));
    field(blocks, "blocks", "residual blocks", core::between(1, 32));
    field(nce_layers, "nce_layers", "indices of the generator's layers whose features PatchNCE compares", core::at_least(0));
  }
};

/// ResNet generator: 7x7 convolution, two antialiased downsamplings (blur-pool, Zhang, ICML 2019), residual blocks, two antialiased upsamplings,
/// 7x7 convolution, tanh; instance norm, reflection padding.
class GeneratorImpl : public torch::nn::Module {
 public:
  explicit GeneratorImpl(const GeneratorConfig& config);
  /// [B, 3, H, W] in [-1, 1] -> the same shape; H and W multiples of 4.
  at::Tensor forward(const at::Tensor& images);
  /// The outputs of the configured layers for these images; ends at the last of them.
  std::vector<at::Tensor> features(const at::Tensor& images);
  /// Channels of each of features().
  std::vector<int64_t> feature_channels() const;

 private:
  std::vector<torch::nn::AnyModule> layers_;
  std::vector<int64_t> nce_layers_;
};
TORCH_MODULE(Generator);

struct DiscriminatorConfig {
  int64_t width = 64;
  int64_t layers = 3;

  void visit(core::Fields& field) {
    field(width, "width", "channels after the first convolution", core::between(1, 512));
    field(layers, "layers", "strided layers; 3 sees patches of 70x70 pixels", core::between(1, 6));
  }
};

/// PatchGAN discriminator with antialiased downsampling and instance norm: [B, 3, H, W] -> [B, 1, h, w] scores of overlapping patches.
class DiscriminatorImpl : public torch::nn::Module {
 public:
  explicit DiscriminatorImpl(const DiscriminatorConfig& config);
  at::Tensor forward(const at::Tensor& images);

 private:
  std::vector<torch::nn::AnyModule> layers_;
};
TORCH_MODULE(Discriminator);

/// The projection heads H_l of PatchNCE: for each feature layer Linear - ReLU - Linear to `dim`, then unit rows.
class PatchProjectionImpl : public torch::nn::Module {
 public:
  PatchProjectionImpl(const std::vector<int64_t>& channels, int64_t dim = 256);
  /// features: per layer [B, C, h, w]; locations: per layer [P] int64 into h*w, the same for all images. Per layer [B, P, dim], unit rows.
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& features, const std::vector<at::Tensor>& locations);

 private:
  std::vector<torch::nn::AnyModule> heads_;
};
TORCH_MODULE(PatchProjection);

/// PatchNCE of one layer: each output patch must match the input patch of its own location among the P patches of the same image.
/// query, key [B, P, D] unit rows (key is detached); returns the mean over B*P of the cross entropy at this temperature.
at::Tensor patch_nce(const at::Tensor& query, const at::Tensor& key, double temperature = 0.07);

/// Least-squares GAN loss (Mao et al., ICCV 2017): mean (score - target)^2 with target 1 for real, 0 for fake.
at::Tensor lsgan(const at::Tensor& scores, bool real);

}  // namespace syncdr::gan
