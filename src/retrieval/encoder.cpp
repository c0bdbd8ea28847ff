#include "syncdr/retrieval/encoder.h"

#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include <array>
#include <cmath>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/nn/unit_rows.h"
#include "syncdr/nn/weights.h"

namespace syncdr::retrieval {
namespace {

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

/// A residual block: x + f(x), where f is two 3x3 convolutions or, in a bottleneck, 1x1, 3x3, 1x1 with four times as many channels at its
/// end.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(int64_t in, int64_t width, int64_t stride, bool bottleneck) {
    const int64_t out = bottleneck ? 4 * width : width;
    if (bottleneck) {
      add(1, in, width, 1, 1);
      add(2, width, width, 3, stride);
      add(3, width, out, 1, 1);
    } else {
      add(1, in, width, 3, stride);
      add(2, width, out, 3, 1);
    }
    if (stride != 1 || in != out) {
      shortcut_ = register_module("downsample", torch::nn::Sequential(convolution(in, out, 1, stride), nn::BatchNorm(out)));
    }
  }

  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = input;
    for (size_t k = 0; k < convolutions_.size(); ++k) {
      x = norms_[k]->forward(convolutions_[k]->forward(x));
      if (k + 1 < convolutions_.size()) x.relu_();
    }
    x = x + (shortcut_ ? shortcut_->forward(input) : input);
    return x.relu_();
  }

 private:
  void add(int index, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    convolutions_.push_back(register_module("conv" + std::to_string(index), convolution(in, out, kernel, stride)));
    norms_.push_back(register_module("bn" + std::to_string(index), nn::BatchNorm(out)));
  }

  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<nn::BatchNorm> norms_;
  torch::nn::Sequential shortcut_{nullptr};
};
TORCH_MODULE(Block);

/// What tells one residual network from another.
struct ResNetShape {
  int64_t stem_kernel, stem_channels;
  int64_t pool_kernel;            ///< of the max pool after the stem; its stride is 2
  bool bottleneck;                ///< blocks of 1x1, 3x3, 1x1 instead of two 3x3
  std::array<int64_t, 4> blocks;  ///< in each stage
  std::array<int64_t, 4> widths;  ///< channels of each stage's 3x3 convolutions

  int64_t features() const { return widths[3] * (bottleneck ? 4 : 1); }
};

/// resnet18, resnet50 (He et al., CVPR 2016), small: one basic block a stage behind a 5x5 stem, for 64-pixel pictures.
ResNetShape resnet_shape(const std::string& name) {
  if (name == "resnet50") return {7, 64, 3, true, {3, 4, 6, 3}, {64, 128, 256, 512}};
  if (name == "resnet18") return {7, 64, 3, false, {2, 2, 2, 2}, {64, 128, 256, 512}};
  if (name == "small") return {5, 32, 2, false, {1, 1, 1, 1}, {32, 64, 128, 256}};
  throw core::UsageError("encoder.name \"{}\" is unknown; there are resnet50, resnet18 and small", name);
}

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

/// A residual network up to and with global average pooling; parameters and buffers have torchvision's and timm's names. A bottleneck
/// strides in its 3x3 convolution ("v1.5"), as theirs do.
class ResNetImpl : public torch::nn::Module {
 public:
  explicit ResNetImpl(const ResNetShape& shape) : pool_kernel_(shape.pool_kernel) {
    conv1_ = register_module("conv1", convolution(3, shape.stem_channels, shape.stem_kernel, 2));
    bn1_ = register_module("bn1", nn::BatchNorm(shape.stem_channels));
    int64_t channels = shape.stem_channels;
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
      torch::nn::Sequential blocks;
      for (int64_t k = 0; k < shape.blocks[stage]; ++k) {
        const int64_t stride = stage > 0 && k == 0 ? 2 : 1;
        blocks->push_back(Block(channels, shape.widths[stage], stride, shape.bottleneck));
        channels = shape.widths[stage] * (shape.bottleneck ? 4 : 1);
      }
      stages_[stage] = register_module("layer" + std::to_string(stage + 1), blocks);
    }
  }

  /// [B, 3, H, W] -> [B, shape.features()]
  at::Tensor forward(const at::Tensor& images) {
    at::Tensor x = bn1_->forward(conv1_->forward(images)).relu_();                          // [B, C, H/2, W/2]
    x = at::max_pool2d(x, pool_kernel_, /*stride=*/2, /*padding=*/(pool_kernel_ - 1) / 2);  // [B, C, H/4, W/4]
    for (auto& stage : stages_) x = stage->forward(x);                                      // [B, features, H/32, W/32]
    return x.mean({2, 3});
  }

 private:
  int64_t pool_kernel_;
  torch::nn::Conv2d conv1_{nullptr};
  nn::BatchNorm bn1_{nullptr};
  std::array<torch::nn::Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};

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
  if (feature_norm_ && mode_ == nn::BatchNormMode::frozen) nn::set_batch_norm_mode(*feature_norm_, nn::BatchNormMode::global, sum_over_ranks);
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

at::Tensor normalise_images(const at::Tensor& images, c10::Device device) {
  const auto constants = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor mean = 255 * at::tensor({0.485, 0.456, 0.406}, constants);
  const at::Tensor deviation = 255 * at::tensor({0.229, 0.224, 0.225}, constants);
  // As bytes to the device, a quarter of the traffic.
  return nn::normalised(images.to(device, /*non_blocking=*/true), mean.to(device), deviation.to(device));
}

}  // namespace syncdr::retrieval
