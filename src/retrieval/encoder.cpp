#include "syncdr/retrieval/encoder.h"

#include <torch/nn/init.h>

#include <algorithm>
#include <cmath>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/nn/unit_rows.h"
#include "syncdr/nn/weights.h"

namespace syncdr::retrieval {
namespace {

void fill_uniform(const at::Tensor& tensor, double bound, core::Random random) {
  float* const values = tensor.data_ptr<float>();
  for (int64_t k = 0; k < tensor.numel(); ++k) values[k] = static_cast<float>(random.uniform(-bound, bound));
}

/// A backbone's file may have the prefix "backbone." too, but no head beside it.
bool is_whole_encoder(const io::NamedTensors& tensors) {
  const auto any = [&](std::string_view prefix) {
    return std::any_of(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.first.starts_with(prefix); });
  };
  return any("backbone.") && any("head.");
}

const encoders::BackboneRow& row_of(const EncoderConfig& config) {
  if (const auto* row = encoders::find_backbone(config.name)) return *row;
  throw core::UsageError("encoder.name \"{}\" is unknown; there are {}", config.name, fmt::join(encoders::backbone_names(), ", "));
}

std::shared_ptr<encoders::Backbone> make_backbone(const EncoderConfig& config) {
  const encoders::BackboneRow& row = row_of(config);
  return row.make(row, config.size > 0 ? config.size : row.size);
}

/// Nothing if it is to be random.
io::NamedTensors tensors_of(const EncoderConfig& config) { return config.weights.empty() ? io::NamedTensors() : io::read_safetensors(config.weights).tensors; }

void check_head(const EncoderConfig& config, const encoders::Backbone& backbone) {
  if (config.head == "identity" && config.dim != backbone.features())
    throw core::UsageError("train.encoder.head = \"identity\": {0} has {1} features. Set train.encoder.dim = {1}", config.name, backbone.features());
}

Encoder with_weights(const EncoderConfig& config, uint64_t seed, io::NamedTensors tensors) {
  Encoder encoder(config, seed);
  if (is_whole_encoder(tensors)) {
    nn::load_state(*encoder, tensors, config.weights);
  } else if (!config.weights.empty()) {
    encoders::load_backbone(encoder->backbone(), std::move(tensors), config.weights);
  }
  return encoder;
}

}  // namespace

EncoderImpl::EncoderImpl(const EncoderConfig& config, uint64_t seed)
    : normalisation_(row_of(config).normalisation), mode_(nn::batch_norm_mode_from_name(config.batch_norm)) {
  backbone_ = register_module("backbone", make_backbone(config));
  if (config.dim > 0) head_ = register_module("head", torch::nn::Linear(backbone_->features(), config.dim));
  if (config.feature_norm) feature_norm_ = register_module("feature_norm", nn::BatchNorm(config.dim, /*affine=*/false));
  set_batch_norm({});

  encoders::initialise(*backbone_, "backbone.", seed);
  if (!head_) return;
  const at::NoGradGuard no_gradient;
  if (config.head == "identity") {
    check_head(config, *backbone_);
    torch::nn::init::eye_(head_->weight);
    head_->bias.zero_();
    return;
  }
  const double bound = 1 / std::sqrt(static_cast<double>(backbone_->features()));
  for (const auto& item : head_->named_parameters()) {
    fill_uniform(item.value(), bound, core::Random(seed, core::Purpose::weights, io::hash64("head." + item.key())));
  }
}

at::Tensor EncoderImpl::forward(const at::Tensor& images) { return project(pool(images)); }

at::Tensor EncoderImpl::pool(const at::Tensor& images) {
  if (!backbone_->takes(images.size(2)) || !backbone_->takes(images.size(3))) {
    throw core::UsageError("images of {} x {} pixels: the encoder was made for another size. Set train.augment.crop to what it was in its training",
                           images.size(2), images.size(3));
  }
  return backbone_->forward(images.to(backbone_->parameters().front().scalar_type()));
}

at::Tensor EncoderImpl::project(const at::Tensor& pooled) {
  at::Tensor features = head_ ? head_->forward(pooled) : pooled;
  features = features.to(backbone_->parameters().front().scalar_type());  // under autocast they arrive in bfloat16
  if (feature_norm_) features = feature_norm_->forward(features);
  return nn::unit_rows(features);
}

void EncoderImpl::set_batch_norm(const nn::SumOverRanks& sum_over_ranks) {
  nn::set_batch_norm_mode(*this, mode_, sum_over_ranks);
  // Frozen statistics are those of pretrained weights. The feature norm is always new: frozen, it would never learn any.
  if (feature_norm_ && mode_ == nn::BatchNormMode::frozen) nn::set_batch_norm_mode(*feature_norm_, nn::BatchNormMode::global, sum_over_ranks);
}

Encoder make_encoder(const EncoderConfig& config, uint64_t seed) { return with_weights(config, seed, tensors_of(config)); }

Encoder untrained_encoder(const EncoderConfig& config, uint64_t seed) {
  io::NamedTensors tensors = tensors_of(config);
  EncoderConfig without_head = config;
  without_head.dim = 0;
  without_head.feature_norm = false;
  const bool whole = is_whole_encoder(tensors);
  return with_weights(whole ? config : without_head, seed, std::move(tensors));
}

std::string check_sizes(const EncoderConfig& config, int64_t side) {
  const int64_t trained = row_of(config).size, size = config.size > 0 ? config.size : trained;
  const auto backbone = make_backbone(config);
  check_head(config, *backbone);
  if (!backbone->takes(side)) {
    throw core::UsageError(
        "train.augment.crop = {0}: {1} takes images of {2} pixels. Set train.augment.crop = {2}, or train.encoder.size = {0}: position "
        "embeddings are then resampled",
        side, config.name, size);
  }
  if (config.weights.empty() || side == trained) return "";
  return fmt::format("train.augment.crop = {}: the weights of {} were trained with images of {} pixels", side, config.name, trained);
}

void save_encoder(const std::filesystem::path& file, const io::NamedTensors& state, const EncoderConfig& config) {
  EncoderConfig saved = config;
  saved.weights.clear();  // where training began is not part of what it led to
  io::write_safetensors(file, state, {{"encoder", core::write_config(core::visit_of(saved))}});
}

Encoder load_encoder(const std::filesystem::path& file, EncoderConfig* config) {
  const io::Safetensors content = io::read_safetensors(file);
  const auto text = content.metadata.find("encoder");
  if (text == content.metadata.end()) {
    throw core::DataError("{}: no \"encoder\" in its metadata, so it is no trained encoder; a backbone's weights belong in encoder.weights", file.string());
  }
  EncoderConfig read;
  core::read_config_text(core::visit_of(read), text->second, file.string());
  if (!read.weights.empty()) throw core::DataError("{}: its metadata point to other weights, \"{}\"", file.string(), read.weights);
  Encoder encoder(read, /*seed=*/0);
  nn::load_state(*encoder, content.tensors, file.string());
  encoder->eval();
  if (config != nullptr) *config = read;
  return encoder;
}

at::Tensor normalise_images(const at::Tensor& images, const encoders::Normalisation& normalisation, c10::Device device) {
  const auto bytes = [&](const std::array<double, 3>& values) {
    return (255 * at::tensor(at::ArrayRef<double>(values), at::TensorOptions().dtype(at::kFloat))).to(device);
  };
  // As bytes to the device, a quarter of the traffic.
  return nn::normalised(images.to(device, /*non_blocking=*/true), bytes(normalisation.mean), bytes(normalisation.deviation));
}

}  // namespace syncdr::retrieval
