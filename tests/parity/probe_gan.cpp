#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/gan/cut.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/checkpoint.h"

using namespace syncdr;

namespace {

/// The gradients of sum(outputs * cotangents) with respect to the module's parameters ("grad.NAME") and to the images ("grad.images").
void put_gradients(io::NamedTensors& out, torch::nn::Module& module, const at::Tensor& images, const std::vector<at::Tensor>& outputs,
                   const io::NamedTensors& in) {
  at::Tensor sum = at::zeros({});
  for (size_t i = 0; i < outputs.size(); ++i) sum = sum + (outputs[i] * in.at(fmt::format("cotangent.{}", i))).sum();
  sum.backward();
  for (const auto& item : module.named_parameters()) out.emplace("grad." + item.key(), item.value().grad());
  out.emplace("grad.images", images.grad());
}

}  // namespace

SYNCDR_PROBE(cut_generator,
             "images [B, 3, H, W], weights.NAME, cotangent.0 (of the translation), cotangent.1 ... (of the features)\n"
             "-> output.0 [B, 3, H, W], output.1 ... (features), grad.NAME, grad.images: gradients of sum(output * cotangent)\n"
             "TOML: of a generator") {
  gan::GeneratorConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  gan::Generator generator(config);
  generator->to(in.at("images").scalar_type());
  nn::load_state(*generator, training::take_prefix(in, "weights."), "--in");
  const at::Tensor images = in.at("images").clone().requires_grad_();
  const gan::GeneratorOutput output = generator->forward_with_features(images);
  std::vector<at::Tensor> all{output.images};
  all.insert(all.end(), output.features.begin(), output.features.end());
  io::NamedTensors out;
  for (size_t i = 0; i < all.size(); ++i) out.emplace(fmt::format("output.{}", i), all[i].detach());
  put_gradients(out, *generator, images, all, in);
  return out;
}

SYNCDR_PROBE(cut_discriminator,
             "images [B, 3, H, W], weights.NAME, cotangent.0 -> output.0 [B, 1, h, w], grad.NAME, grad.images, real [], fake [] (losses)\n"
             "TOML: of a discriminator") {
  gan::DiscriminatorConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  gan::Discriminator discriminator(config);
  discriminator->to(in.at("images").scalar_type());
  nn::load_state(*discriminator, training::take_prefix(in, "weights."), "--in");
  const at::Tensor images = in.at("images").clone().requires_grad_();
  const at::Tensor scores = discriminator->forward(images);
  io::NamedTensors out{{"output.0", scores.detach()}};
  put_gradients(out, *discriminator, images, {scores}, in);
  out.emplace("real", gan::lsgan(scores.detach(), true));
  out.emplace("fake", gan::lsgan(scores.detach(), false));
  return out;
}

SYNCDR_PROBE(patch_nce,
             "query.L [B, C, H, W], key.L, places.L [patches] for layers L = 0, 1, weights.NAME of the heads\n"
             "-> loss [], grad.NAME of the heads, grad.query.L") {
  std::vector<at::Tensor> queries, keys, places;
  std::vector<int64_t> channels;
  for (const char* layer : {"0", "1"}) {
    queries.push_back(in.at(fmt::format("query.{}", layer)).clone().requires_grad_());
    keys.push_back(in.at(fmt::format("key.{}", layer)));
    places.push_back(in.at(fmt::format("places.{}", layer)));
    channels.push_back(queries.back().size(1));
  }
  gan::PatchProjection heads(channels, 16);
  heads->to(queries[0].scalar_type());
  nn::load_state(*heads, training::take_prefix(in, "weights."), "--in");
  const auto query_rows = heads->forward(queries, places), key_rows = heads->forward(keys, places);
  at::Tensor loss = at::zeros({});
  for (size_t i = 0; i < query_rows.size(); ++i) loss = loss + gan::patch_nce(query_rows[i], key_rows[i], 0.07);
  loss.backward();
  io::NamedTensors out{{"loss", loss.detach()}, {"grad.query.0", queries[0].grad()}, {"grad.query.1", queries[1].grad()}};
  for (const auto& item : heads->named_parameters()) out.emplace("grad." + item.key(), item.value().grad());
  return out;
}
