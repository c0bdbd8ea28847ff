#include "probe.h"
#include "syncdr/nn/weights.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/retrieval/losses.h"

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

}  // namespace

SYNCDR_PROBE(retrieval_losses,
             "features [B, D], counterparts [B, D], bank [N, D], rows [B] int64, other_bank [M, D]\n"
             "-> instance [], matching [], pairs [] (losses) and d_instance, d_matching, d_pairs_counterparts, d_pairs_features [B, D] (gradients)\n"
             "TOML: temperature, top") {
  const LossConfig config = loss_config(toml);
  const at::Tensor features = in.at("features");
  const double count = static_cast<double>(features.size(0));
  const auto instance = retrieval::instance_discrimination(features, retrieval::MemoryBank(in.at("bank")), in.at("rows"), config.temperature);
  const auto matching = retrieval::cross_domain_matching(features, retrieval::MemoryBank(in.at("other_bank")), config.temperature, config.top);
  const auto pairs = retrieval::pseudo_positive_pairs(in.at("counterparts"), features, at::ones_like(features.select(1, 0)), config.temperature);
  return {{"instance", instance.losses.mean()},
          {"matching", matching.losses.mean()},
          {"pairs", pairs.losses.mean()},
          {"d_instance", instance.gradient / count},
          {"d_matching", matching.gradient / count},
          {"d_pairs_counterparts", pairs.queries_gradient / count},
          {"d_pairs_features", pairs.others_gradient / count}};
}

SYNCDR_PROBE(memory_bank, "bank [N, D], rows [B] int64, features [B, D] -> bank [N, D] after an update\nTOML: momentum") {
  retrieval::MemoryBank bank(in.at("bank").clone(), loss_config(toml).momentum);
  bank.update(in.at("rows"), in.at("features"));
  return {{"bank", bank.rows()}};
}

SYNCDR_PROBE(encoder,
             "--model: a file of weights. images [B, 3, H, W] uint8, weights [B, D]\n"
             "-> images [B, 3, H, W] normalised, features [B, D] in evaluation, and of training: gradient.NAME of sum(features * weights), buffer.NAME\n"
             "TOML: of a retrieval encoder (name, dim, ...)") {
  retrieval::EncoderConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  if (!model.empty()) config.weights = model.string();
  retrieval::Encoder encoder = retrieval::make_encoder(config, 1);
  const at::Tensor images = retrieval::normalise_images(in.at("images"), encoder->normalisation(), at::kCPU);
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
