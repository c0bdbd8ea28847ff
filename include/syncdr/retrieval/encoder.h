#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <filesystem>
#include <memory>
#include <string>

#include "syncdr/encoders/backbone.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/nn/batch_norm.h"
#include "syncdr/retrieval/encoder_config.h"

namespace syncdr::retrieval {

/// A retrieval encoder: backbone with its pooling, Linear to `dim`, unit rows. Tensors are named "backbone.*" (what follows as in encoders/backbone.h),
/// "head.*" and, with feature_norm, "feature_norm.*".
class EncoderImpl : public torch::nn::Module {
 public:
  /// Initial weights: the backbone's by encoders::initialise, config.head's or PyTorch's uniform distribution for the head. Each tensor's numbers are a
  /// function of seed and its name. config.dim 0: no head, the pooled features.
  EncoderImpl(const EncoderConfig& config, uint64_t seed);
  /// [B, 3, H, W] float, normalised by `normalisation` -> [B, dim], unit rows, in the type of the parameters (float unless converted). Throws UsageError if the
  /// backbone does not take images of this side.
  at::Tensor forward(const at::Tensor& images);
  /// The two halves of forward: [B, 3, H, W] -> the backbone's features [B, F] -> [B, dim], unit rows.
  at::Tensor pool(const at::Tensor& images);
  at::Tensor project(const at::Tensor& pooled);
  /// How every batch normalisation takes its statistics in training, by config.batch_norm.
  void set_batch_norm(const nn::SumOverRanks& sum_over_ranks);
  const encoders::Normalisation& normalisation() const { return normalisation_; }
  encoders::Backbone& backbone() { return *backbone_; }

 private:
  encoders::Normalisation normalisation_;
  nn::BatchNormMode mode_;
  std::shared_ptr<encoders::Backbone> backbone_;
  torch::nn::Linear head_{nullptr};
  nn::BatchNorm feature_norm_{nullptr};
};
TORCH_MODULE(Encoder);

/// Builds it with initial weights drawn from seed, then loads config.weights if given: a backbone's file (encoders::load_backbone) or a whole
/// encoder's. Throws DataError if a name or a shape does not fit.
Encoder make_encoder(const EncoderConfig& config, uint64_t seed);

/// Whether images of this side suit the encoder, and the head its backbone: throws UsageError if not. Returns a remark where its weights were trained with
/// images of another side, else nothing.
std::string check_sizes(const EncoderConfig& config, int64_t side);

/// What make_encoder makes, as it is before any training: without a head, whose weights would be random, unless config.weights holds a whole encoder.
Encoder untrained_encoder(const EncoderConfig& config, uint64_t seed);

/// A trained encoder with its configuration in the metadata "encoder", atomically.
void save_encoder(const std::filesystem::path& file, const io::NamedTensors& state, const EncoderConfig& config);
/// What save_encoder wrote, on the CPU in evaluation mode, and its configuration if asked for. Throws DataError.
Encoder load_encoder(const std::filesystem::path& file, EncoderConfig* config = nullptr);

/// [B, 3, H, W] uint8 -> float, (x / 255 - mean) / deviation, on the given device; channels last stay last.
at::Tensor normalise_images(const at::Tensor& images, const encoders::Normalisation& normalisation, c10::Device device);

}  // namespace syncdr::retrieval
