#include "syncdr/search/model.h"

#include <ATen/ops/empty.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"
#include "syncdr/retrieval/features.h"

namespace syncdr::search {

Model make_model(retrieval::Encoder encoder, const retrieval::EncoderConfig& config, const data::AugmentConfig& views, std::string name, c10::Device device) {
  data::check_sides(views, "train.augment");
  retrieval::check_sizes(config, views.crop);
  encoder->eval();
  Model model{.name = std::move(name), .encoder = encoder, .views = views};
  model.identity = {{"model", nn::state_hash(*encoder)},
                    {"train.encoder.name", config.name},
                    {"train.augment.resize", std::to_string(views.resize)},
                    {"train.augment.crop", std::to_string(views.crop)}};
  const auto parameters = encoder->named_parameters();
  const at::Tensor* head = parameters.find("head.weight");
  model.dim = head ? head->size(0) : encoder->backbone().features();
  encoder->to(device);
  return model;
}

at::Tensor features_of(Model& model, const std::vector<data::Image>& pictures, c10::Device device) {
  const int64_t side = model.views.crop;
  const at::Tensor pixels = at::empty({std::ssize(pictures), side, side, 3}, at::kByte);
  for (size_t i = 0; i < pictures.size(); ++i)
    data::evaluation_view(pictures[i], model.views, pixels.data_ptr<uint8_t>() + static_cast<int64_t>(i) * pixels.stride(0));
  const int64_t call = retrieval::images_a_call(device, std::ssize(pictures));
  return retrieval::features_of(model.encoder, pixels.permute({0, 3, 1, 2}), device, call).to(at::kCPU, at::kFloat);
}

void expect_features_of(const Model& model, const io::Identity& then, const std::string& where) {
  for (const auto& [name, now] : model.identity) {
    const auto before = then.find(name);
    if (before != then.end() && before->second == now) continue;
    const std::string was = before == then.end() ? "not set" : before->second;
    if (name == "model")
      throw core::DataError(
          "{}: holds features of another model (hash {}) than {} (hash {}). Name the arm that they were made with, or make them with this one: "
          "`syncdr embed`",
          where, was, model.name, now);
    throw core::DataError("{}: holds features that were made with {} = {}, now it is {}. Set it back, or make them anew: `syncdr embed`", where, name, was,
                          now);
  }
}

}  // namespace syncdr::search
