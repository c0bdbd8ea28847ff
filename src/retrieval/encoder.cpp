#include "syncdr/nn/unit_rows.h"
#include "syncdr/retrieval/encoder.h"

#include <cmath>

#include "resnet.h"
#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/weights.h"

namespace syncdr::retrieval {
namespace {

void fill_uniform(const at::Tensor& tensor, double bound, core::Random random) {
  float* const values = tensor.data_ptr<float>();
  for (int64_t k = 0; k < tensor.numel(); ++k) values[k] = static_cast<float>(random.uniform(-bound, bound));
}

void fill_normal(const at::Tensor& tensor, double deviation, core::Random random) {
  random.fill_normal({tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())});
  tensor.mul_(deviation);
}

/// Names of a backbone's own file -> names inside the encoder. The head and the feature norm of `initial` stay as they were drawn.
io::NamedTensors complete_backbone(const io::NamedTensors& backbone, const io::NamedTensors& initial) {
  io::NamedTensors all;
  for (const auto& [name, tensor] : backbone) {
    if (name != "fc.weight" && name != "fc.bias") all.emplace("backbone." + name, tensor);
  }
  for (const auto& [name, tensor] : initial) {
    // PyTorch did not count batches before 0.4.1, so the first ImageNet weights lack the counters; nothing here depends on them.
    const bool counter = name.ends_with(".num_batches_tracked");
    if (counter || !name.starts_with("backbone.")) all.emplace(name, tensor);
  }
  return all;
}

bool is_whole_encoder(const io::NamedTensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) { return entry.first.starts_with("backbone."); });
}

}  // namespace

EncoderImpl::EncoderImpl(const EncoderConfig& config, uint64_t seed) : mode_(nn::batch_norm_mode_from_name(config.batch_norm)) {
  const ResNetShape shape = resnet_shape(config.name);
  backbone_ = register_module("backbone", std::make_shared<ResNetImpl>(shape));
  head_ = register_module("head", torch::nn::Linear(shape.features(), config.dim));
  if (config.feature_norm) feature_norm_ = register_module("feature_norm", nn::BatchNorm(config.dim, /*affine=*/false));
  set_batch_norm({});

  const at::NoGradGuard no_gradient;
  const double bound = 1 / std::sqrt(static_cast<double>(shape.features()));
  for (const auto& item : named_parameters()) {
    const at::Tensor& tensor = item.value();
    const core::Random random(seed, core::Purpose::weights, io::hash64(item.key()));
    if (tensor.dim() == 4) {
      fill_normal(tensor, std::sqrt(2.0 / static_cast<double>(tensor.size(0) * tensor.size(2) * tensor.size(3))), random);
    } else if (item.key().starts_with("head.")) {
      fill_uniform(tensor, bound, random);
    }
  }
}

at::Tensor EncoderImpl::forward(const at::Tensor& images) {
  const auto type = head_->weight.scalar_type();
  at::Tensor features = head_->forward(backbone_->forward(images.to(type))).to(type);  // under autocast they arrive in bfloat16
  if (feature_norm_) features = feature_norm_->forward(features);
  return nn::unit_rows(features);
}

void EncoderImpl::set_batch_norm(const nn::SumOverRanks& sum_over_ranks) {
  nn::set_batch_norm_mode(*this, mode_, sum_over_ranks);
  // Frozen statistics are those of pretrained weights. The feature norm is always new: frozen, it would never learn any.
  if (feature_norm_ && mode_ == nn::BatchNormMode::frozen)
    nn::set_batch_norm_mode(*feature_norm_, nn::BatchNormMode::global, sum_over_ranks);
}

Encoder make_encoder(const EncoderConfig& config, uint64_t seed) {
  Encoder encoder(config, seed);
  if (config.weights.empty()) return encoder;
  const io::NamedTensors tensors = io::read_safetensors(config.weights).tensors;
  nn::load_state(*encoder, is_whole_encoder(tensors) ? tensors : complete_backbone(tensors, nn::state_of(*encoder)), config.weights);
  return encoder;
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
    throw core::DataError("{}: no \"encoder\" in its metadata, so it is no trained encoder; a backbone's weights belong in encoder.weights",
                          file.string());
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

at::Tensor normalise_images(const at::Tensor& images, c10::Device device) {
  const auto constants = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor mean = 255 * at::tensor({0.485, 0.456, 0.406}, constants).view({1, 3, 1, 1});
  const at::Tensor deviation = 255 * at::tensor({0.229, 0.224, 0.225}, constants).view({1, 3, 1, 1});
  // As bytes to the device, a quarter of the traffic.
  return images.to(device, /*non_blocking=*/true).to(at::kFloat).sub_(mean.to(device)).div_(deviation.to(device));
}

}  // namespace syncdr::retrieval
