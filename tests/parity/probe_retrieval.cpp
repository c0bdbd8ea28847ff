#include "probe.h"
#include "syncdr/nn/weights.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/retrieval/losses.h"
#include "syncdr/retrieval/memory_bank.h"

using namespace syncdr;

namespace {

struct LossConfig {
  double temperature = 0.1;
  int64_t top = 700;
  double momentum = 0.5;
  void visit(core::Fields& field) {
    field(temperature, "temperature", "");
    field(top, "top", "");
    field(momentum, "momentum", "");
  }
};

LossConfig loss_config(const std::string& toml) {
  LossConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  return config;
}

at::Tensor leaf(const at::Tensor& tensor) { return tensor.clone().set_requires_grad(true); }

}  // namespace

/// All three losses of one domain, each with the gradients of what it differentiates.
SYNCDR_PROBE(retrieval_losses) {
  const LossConfig config = loss_config(toml);
  const at::Tensor features = leaf(in.at("features")), counterparts = leaf(in.at("counterparts"));
  const at::Tensor instance = retrieval::instance_discrimination(features, in.at("bank"), in.at("rows"), config.temperature);
  const at::Tensor matching = retrieval::cross_domain_matching(features, in.at("other_bank"), config.temperature, config.top);
  const at::Tensor pairs = retrieval::pseudo_positive_pairs(counterparts, features, config.temperature);
  const auto pair_gradients = torch::autograd::grad({pairs}, {counterparts, features});
  return {{"instance", instance.detach()},
          {"matching", matching.detach()},
          {"pairs", pairs.detach()},
          {"d_instance", torch::autograd::grad({instance}, {features})[0]},
          {"d_matching", torch::autograd::grad({matching}, {features})[0]},
          {"d_pairs_counterparts", pair_gradients[0]},
          {"d_pairs_features", pair_gradients[1]}};
}

SYNCDR_PROBE(memory_bank) {
  retrieval::MemoryBank bank(in.at("bank").clone(), loss_config(toml).momentum);
  bank.update(in.at("rows"), in.at("features"));
  return {{"bank", bank.rows()}};
}

/// An encoder loaded from config.weights: features of "images" (bytes) in evaluation, and in training the gradients of sum(features * "weights").
SYNCDR_PROBE(encoder) {
  retrieval::EncoderConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  retrieval::Encoder encoder = retrieval::make_encoder(config, 1);
  const at::Tensor images = retrieval::normalise_images(in.at("images"), at::kCPU);
  io::NamedTensors out;
  {
    const at::NoGradGuard no_gradient;
    encoder->eval();
    out["images"] = images;
    out["features"] = encoder->forward(images);
  }
  encoder->train();
  (encoder->forward(images) * in.at("weights")).sum().backward();
  for (const auto& item : encoder->named_parameters()) out["gradient." + item.key()] = item.value().grad();
  for (const auto& item : encoder->named_buffers()) out["buffer." + item.key()] = item.value();
  return out;
}
