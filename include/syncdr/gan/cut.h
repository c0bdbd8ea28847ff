#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/pimpl.h>

#include <string>
#include <vector>

#include "syncdr/gan/cut_config.h"

/// The networks and losses of CUT (Park, Efros, Zhang, Zhu: "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020). Module
/// order and parameter names follow the published model, so that its weights load. Everything runs in channels-last layout, which oneDNN and cuDNN
/// like best; inputs of another layout are converted.
namespace syncdr::gan {

/// A translation and, of the same pass, the outputs of the configured layers, [B, C_l, h_l, w_l] each.
struct GeneratorOutput {
  at::Tensor images;
  std::vector<at::Tensor> features;
};

/// ResNet generator: 7x7 convolution, two antialiased downsamplings (blur-pool, Zhang, ICML 2019), residual blocks, two antialiased upsamplings,
/// 7x7 convolution, tanh; instance norm, reflection padding. With b blocks its layers are numbered
///     0 pad, 1-3 convolution, norm, ReLU; 4-7 convolution, norm, ReLU, downsampling; 8-11 again; 12 ... 11 + b blocks;
///     then twice upsampling, convolution, norm, ReLU; then pad, convolution, tanh.
class GeneratorImpl : public torch::nn::Module {
 public:
  /// Throws UsageError if nce_layers does not rise or names a layer that is not there.
  explicit GeneratorImpl(const GeneratorConfig& config);
  /// [B, 3, H, W] in [-1, 1] -> the same shape; H and W multiples of 4, at least 16.
  at::Tensor forward(const at::Tensor& images);
  GeneratorOutput forward_with_features(const at::Tensor& images);
  /// The outputs of the configured layers for these images; ends at the last of them.
  std::vector<at::Tensor> features(const at::Tensor& images);
  /// Channels of each of features().
  std::vector<int64_t> feature_channels() const;
  const GeneratorConfig& config() const { return config_; }

 private:
  void add(torch::nn::AnyModule layer, int64_t channels);
  /// Through the first `layers`; the outputs of the configured ones are appended to features where it is given.
  at::Tensor run(const at::Tensor& images, int64_t layers, std::vector<at::Tensor>* features);

  GeneratorConfig config_;
  torch::nn::Sequential model_;
  std::vector<int64_t> channels_;  // of each layer's output
};
TORCH_MODULE(Generator);

/// PatchGAN discriminator (Isola et al., CVPR 2017) with antialiased downsampling and instance norm: [B, 3, H, W] -> [B, 1, h, w] scores of
/// overlapping patches.
class DiscriminatorImpl : public torch::nn::Module {
 public:
  explicit DiscriminatorImpl(const DiscriminatorConfig& config);
  /// Throws UsageError if the images are too small for this many layers.
  at::Tensor forward(const at::Tensor& images);

 private:
  DiscriminatorConfig config_;
  torch::nn::Sequential model_;
};
TORCH_MODULE(Discriminator);

/// The projection heads H_l of PatchNCE: for each feature layer Linear - ReLU - Linear to `dim`, then unit rows.
class PatchProjectionImpl : public torch::nn::Module {
 public:
  explicit PatchProjectionImpl(const std::vector<int64_t>& channels, int64_t dim = 256);
  /// features: per layer [B, C, h, w]; locations: per layer [P] int64 into h*w, the same for all images. Per layer [B, P, dim], unit rows.
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& features, const std::vector<at::Tensor>& locations);

 private:
  std::vector<torch::nn::Sequential> heads_;
};
TORCH_MODULE(PatchProjection);

/// Initial parameters, CUT's: weights from Xavier's normal distribution with this gain, biases 0. A parameter's values are a function of
/// (seed, prefix, its name): neither of PyTorch's generator nor of what else there is.
void initialise(torch::nn::Module& module, const std::string& prefix, uint64_t seed, double gain = 0.02);

/// PatchNCE of one layer: each output patch must match the input patch of its own location among the P patches of the same image.
/// query, key [B, P, D] unit rows (key is detached); returns the mean over B*P of the cross entropy at this temperature.
at::Tensor patch_nce(const at::Tensor& query, const at::Tensor& key, double temperature = 0.07);

/// Least-squares GAN loss (Mao et al., ICCV 2017): mean (score - target)^2 with target 1 for real, 0 for fake.
at::Tensor lsgan(const at::Tensor& scores, bool real);

}  // namespace syncdr::gan
