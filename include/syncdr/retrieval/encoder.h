#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/pimpl.h>

#include <filesystem>
#include <string>

#include "syncdr/core/config.h"
#include "syncdr/nn/batch_norm.h"

namespace syncdr::retrieval {

struct EncoderConfig {
  std::string name = "resnet50";
  int64_t dim = 512;
  std::string weights;
  std::string batch_norm = "global";
  bool feature_norm = false;

  void visit(core::Fields& field) {
    field(name, "name", "architecture; small: for 64-pixel pictures", {"resnet50", "resnet18", "small"});
    field(dim, "dim", "features an image", core::between(2, 65536));
    field(weights, "weights", "safetensors of a backbone with timm's or torchvision's names, or of a whole trained encoder; empty: random");
    field(batch_norm, "batch_norm", "statistics of batch normalisation in training: of all ranks, of this rank, or the stored ones", {"global", "local", "frozen"});
    field(feature_norm, "feature_norm", "batch normalisation without affine before the features are scaled to unit length");
  }
};

/// A retrieval encoder: backbone, global average pool, Linear to `dim`, unit rows.
class EncoderImpl : public torch::nn::Module {
 public:
  explicit EncoderImpl(const EncoderConfig& config);
  /// [B, 3, H, W] float, ImageNet-normalised -> [B, dim] float, unit rows.
  at::Tensor forward(const at::Tensor& images);

 private:
  torch::nn::AnyModule backbone_;
  torch::nn::Module* head_ = nullptr;
};
TORCH_MODULE(Encoder);

/// Builds it with initial weights drawn from seed, then loads config.weights if given. Throws DataError if they do not fit.
Encoder make_encoder(const EncoderConfig& config, uint64_t seed);

/// [B, 3, H, W] uint8 -> float, (x / 255 - mean) / std with ImageNet's constants, on the given device.
at::Tensor normalise_images(const at::Tensor& images, c10::Device device);

}  // namespace syncdr::retrieval
