#include "syncdr/diffusion/vision_encoder.h"

#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "clip_layer.h"
#include "syncdr/core/error.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {
namespace {

constexpr std::string_view prefix = "vision_model.";

/// The fields of the image tower, and what errors call them.
ConfigReader vision_fields(const std::filesystem::path& folder) {
  const std::string where = (folder / "config.json").string();
  const boost::json::value content = io::read_json(where);
  const boost::json::object& fields = io::as_object(content, where);
  if (!fields.contains("vision_config")) return {fields, where};
  return {io::json_object(fields, "vision_config", where), where + ": vision_config"};
}

/// The image tower's tensors alone, under their names with the prefix, which transformers 5 leaves out of a CLIPVisionModel that it saves.
io::NamedTensors tower_of(io::NamedTensors weights) {
  // A CLIPModel's other tower and what joins the two; the projection of a CLIPVisionModelWithProjection.
  std::erase_if(weights, [](const auto& item) {
    return item.first.starts_with("text_model.") || item.first == "text_projection.weight" || item.first == "visual_projection.weight" ||
           item.first == "logit_scale";
  });
  if (std::none_of(weights.begin(), weights.end(), [&](const auto& item) { return item.first.starts_with(prefix); })) {
    io::NamedTensors named;
    for (auto& [name, tensor] : weights) named.emplace(std::string(prefix) + name, std::move(tensor));
    weights = std::move(named);
  }
  weights.erase("vision_model.embeddings.position_ids");  // 0, 1, 2, ...: files of older versions hold the counter
  return weights;
}

}  // namespace

VisionEncoderConfig read_vision_encoder_config(const std::filesystem::path& folder) {
  ConfigReader reader = vision_fields(folder);
  VisionEncoderConfig config;
  reader.only("model_type", "clip_vision_model");
  reader.only("num_channels", 3);
  read_common_fields(reader, config);
  config.side = reader.integer("image_size", config.side, 1, 4096);
  config.patch = reader.integer("patch_size", config.patch, 1, config.side);
  reader.finish();
  return config;
}

VisionEncoderImpl::VisionEncoderImpl(const VisionEncoderConfig& config) : config_(config) {
  using torch::nn::Module;
  // The levels exist for the parameters' names alone.
  const auto model = register_module("vision_model", std::make_shared<Module>());
  const auto embeddings = model->register_module("embeddings", std::make_shared<Module>());
  class_ = embeddings->register_parameter("class_embedding", at::empty({config.width}));
  const auto patches = torch::nn::Conv2dOptions(3, config.width, config.patch).stride(config.patch).bias(false);
  patches_ = embeddings->register_module("patch_embedding", torch::nn::Conv2d(patches));
  positions_ = embeddings->register_module("position_embedding", embedding(config.positions(), config.width));
  norm_before_ = model->register_module("pre_layrnorm", layer_norm(config.width, config.norm_epsilon));  // the original's spelling
  for (int64_t i = 0; i < config.layers; ++i) layers_.push_back(std::make_shared<ClipLayer>(layer_of(config, /*causal=*/false)));
  register_list(*model->register_module("encoder", std::make_shared<Module>()), "layers", layers_);
  model->register_module("post_layernorm", layer_norm(config.width, config.norm_epsilon));
}

std::vector<at::Tensor> VisionEncoderImpl::forward(const at::Tensor& images) {
  if (images.dim() != 4 || images.size(1) != 3 || images.size(2) != config_.side || images.size(3) != config_.side)
    throw core::UsageError("the image encoder needs images [B, 3, {}, {}], got [{}]", config_.side, config_.side, fmt::join(images.sizes(), ", "));
  const at::Tensor patches = patches_->forward(images).flatten(2).transpose(1, 2);  // [B, P, D]
  const at::Tensor tokens = at::cat({class_.expand({images.size(0), 1, -1}), patches}, 1);
  std::vector<at::Tensor> states{norm_before_->forward(tokens + positions_->weight)};
  for (const auto& layer : layers_) states.push_back(layer->forward(states.back()));
  return states;
}

VisionEncoder load_vision_encoder(const std::filesystem::path& folder) {
  VisionEncoder encoder(read_vision_encoder_config(folder));
  nn::adopt_state(*encoder, tower_of(read_weights(folder, "model")), folder.string(), at::kFloat);
  encoder->eval();
  return encoder;
}

at::Tensor clip_pixels(const at::Tensor& pictures, int64_t side) {
  const auto pass = [](const at::Tensor& bytes, int64_t height, int64_t width) {
    return at::_upsample_bicubic2d_aa(bytes, {height, width}, /*align_corners=*/false).round_().clamp_(0, 255);
  };
  const at::Tensor resized = pass(pass((pictures + 1) * 127.5, pictures.size(2), side), side, side);
  const at::Tensor mean = at::tensor({0.48145466, 0.4578275, 0.40821073}, resized.options()).view({1, 3, 1, 1});
  const at::Tensor deviation = at::tensor({0.26862954, 0.26130258, 0.27577711}, resized.options()).view({1, 3, 1, 1});
  return (resized / 255 - mean) / deviation;
}

}  // namespace syncdr::diffusion
