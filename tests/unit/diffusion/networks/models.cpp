#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <torch/utils.h>
#include <boost/json.hpp>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/unet.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"

using namespace syncdr;
using namespace syncdr::diffusion;
namespace json = boost::json;

namespace {

/// Two levels of 8 and 16 channels.
json::object unet_fields() {
  return {{"_class_name", "UNet2DConditionModel"},
          {"block_out_channels", {8, 16}},
          {"down_block_types", {"CrossAttnDownBlock2D", "DownBlock2D"}},
          {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D"}},
          {"layers_per_block", 1},
          {"attention_head_dim", 2},
          {"norm_num_groups", 4},
          {"cross_attention_dim", 6}};
}

json::object autoencoder_fields() {
  return {{"_class_name", "AutoencoderKL"},
          {"block_out_channels", {8, 16}},
          {"down_block_types", {"DownEncoderBlock2D", "DownEncoderBlock2D"}},
          {"up_block_types", {"UpDecoderBlock2D", "UpDecoderBlock2D"}},
          {"norm_num_groups", 4}};
}

UNetConfig unet_config(json::object fields = unet_fields()) {
  ConfigReader reader(std::move(fields), "unet/config.json");
  return read_unet_config(reader);
}

AutoencoderConfig autoencoder_config(json::object fields = autoencoder_fields()) {
  ConfigReader reader(std::move(fields), "vae/config.json");
  return read_autoencoder_config(reader);
}

json::object with(json::object fields, const char* name, json::value value) {
  fields[name] = std::move(value);
  return fields;
}

/// With random weights.
template <class Network, class Config> Network random(const Config& config) {
  Network network(config);
  nn::initialise(*network, "network", 1);
  return network;
}

void put_component(const TemporaryFolder& folder, const json::object& fields, const io::NamedTensors& weights) {
  test::put(folder / "config.json", json::serialize(fields));
  io::write_safetensors(folder / "diffusion_pytorch_model.safetensors", weights);
}

}  // namespace

TEST(UNetConfig, UnknownBlockTypeIsNamedWithItsField) {
  const json::object fields = with(unet_fields(), "down_block_types", {"CrossAttnDownBlock2D", "AttnDownBlock2D"});
  EXPECT_ERROR(unet_config(fields), core::DataError, "unet/config.json: \"down_block_types\" holds \"AttnDownBlock2D\"");
  EXPECT_ERROR(unet_config(with(unet_fields(), "mid_block_type", nullptr)), core::DataError, "\"mid_block_type\"");
}

TEST(UNetConfig, FieldsThatChangeTheNetworkAreRefusedByName) {
  for (const auto& [name, value] : std::map<std::string, json::value>{{"addition_embed_type", "text_time"},
                                                                      {"num_class_embeds", 10},
                                                                      {"time_cond_proj_dim", 3},
                                                                      {"resnet_time_scale_shift", "scale_shift"},
                                                                      {"dual_cross_attention", true},
                                                                      {"act_fn", "gelu"},
                                                                      {"norm_num_groups", nullptr},
                                                                      {"a_field_of_tomorrow", 1}})
    EXPECT_ERROR(unet_config(with(unet_fields(), name.c_str(), value)), core::DataError, "\"" + name + "\"");
}

TEST(UNetConfig, ImpossibleWidthsAreRefusedByName) {
  EXPECT_ERROR(unet_config(with(unet_fields(), "attention_head_dim", 3)), core::DataError, "\"attention_head_dim\"");
  EXPECT_ERROR(unet_config(with(unet_fields(), "attention_head_dim", {2, 2, 2})), core::DataError, "\"attention_head_dim\"");
  EXPECT_ERROR(unet_config(with(unet_fields(), "norm_num_groups", 5)), core::DataError, "\"norm_num_groups\"");
  EXPECT_ERROR(unet_config(with(unet_fields(), "block_out_channels", {8, 16, 16})), core::DataError, "\"down_block_types\"");
  EXPECT_ERROR(unet_config(with(unet_fields(), "cross_attention_dim", {6, 7})), core::DataError, "\"cross_attention_dim\"");
}

TEST(UNet, WeightsOfAnotherShapeAreNamed) {
  const TemporaryFolder folder;
  const auto eight_channels = random<UNet>(unet_config(with(unet_fields(), "in_channels", 8)));
  put_component(folder, unet_fields(), nn::state_of(*eight_channels));
  EXPECT_ERROR(load_unet(folder.path()), core::DataError, "\"conv_in.weight\" has shape [8, 8, 3, 3], the model needs [8, 4, 3, 3]");
}

TEST(UNet, OneTextServesAllSamplesPreparedOrNot) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  auto unet = random<UNet>(unet_config());
  const at::Tensor sample = at::randn({3, 4, 6, 5}), text = at::randn({1, 7, 6}), times = at::tensor({1, 500, 999});
  const at::Tensor expected = unet->forward(sample, times, text.expand({3, -1, -1}));
  EXPECT_TRUE(at::allclose(unet->forward(sample, times, text), expected, 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(unet->forward(sample, times, unet->prepare(text)), expected, 1e-4, 1e-5));
}

TEST(UNet, SeesEachSampleWithSeveralTextsAsInSeveralSamples) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  const at::Tensor sample = at::randn({2, 4, 6, 5}), text = at::randn({6, 7, 6});
  for (const boost::json::object& fields :
       {unet_fields(), with(unet_fields(), "only_cross_attention", true), with(unet_fields(), "down_block_types", {"DownBlock2D", "DownBlock2D"})}) {
    auto unet = random<UNet>(unet_config(fields));
    const at::Tensor expected = unet->forward(at::cat({sample, sample, sample}), 7.0, text);
    EXPECT_TRUE(at::allclose(unet->forward(sample, 7.0, text), expected, 1e-4, 1e-5));
    EXPECT_TRUE(at::allclose(unet->forward(sample, 7.0, unet->prepare(text)), expected, 1e-4, 1e-5));
  }
}

TEST(UNet, WrongInputsAreUsageErrors) {
  auto unet = random<UNet>(unet_config());
  const at::Tensor sample = at::randn({2, 4, 8, 8}), text = at::randn({2, 7, 6});
  EXPECT_ERROR(unet->forward(at::randn({2, 8, 8, 8}), 1.0, text), core::UsageError, "[2, 8, 8, 8]");
  EXPECT_ERROR(unet->forward(sample, at::zeros({3}), text), core::UsageError, "[3]");
  EXPECT_ERROR(unet->forward(sample, 1.0, at::randn({2, 7, 5})), core::UsageError, "[2, 7, 5]");
  EXPECT_ERROR(unet->forward(sample, 1.0, at::randn({3, 7, 6})), core::UsageError, "[3, 7, 6]");
  EXPECT_ERROR(unet->forward(sample, at::zeros({2}), at::randn({4, 7, 6})), core::UsageError, "with one timestep");
  auto larger = random<UNet>(unet_config(with(unet_fields(), "layers_per_block", 2)));
  EXPECT_ERROR(unet->forward(sample, 1.0, larger->prepare(text)), core::UsageError, "another UNet");
}

TEST(UNet, IsToldTheGuidanceScaleIfItWasDistilledUnderIt) {
  const torch::NoGradGuard no_grad;
  auto distilled = random<UNet>(unet_config(with(unet_fields(), "time_cond_proj_dim", 5))), plain = random<UNet>(unet_config());
  EXPECT_EQ(nn::state_of(*distilled).at("time_embedding.cond_proj.weight").sizes(), at::IntArrayRef({8, 5}));
  const at::Tensor sample = at::randn({2, 4, 8, 8}), text = at::randn({2, 7, 6}), time = at::full({1}, 1.0);
  const auto at_scale = [&](double scale) { return distilled->forward(sample, time, text, guidance_embedding(scale, 5)); };
  EXPECT_TRUE(at::equal(at_scale(3), at_scale(3)));
  EXPECT_FALSE(at::allclose(at_scale(3), at_scale(4)));
  EXPECT_FALSE(at::allclose(at_scale(3), distilled->forward(sample, time, text)));
  EXPECT_ERROR(distilled->forward(sample, time, text, guidance_embedding(3, 4)), core::UsageError, "[1 or 2, 5]");
  EXPECT_ERROR(plain->forward(sample, time, text, guidance_embedding(3, 5)), core::UsageError, "no guidance embedding");
}

TEST(UNet, GradientsReachEveryParameter) {
  auto unet = random<UNet>(unet_config());
  unet->forward(at::randn({1, 4, 6, 5}), 3.0, at::randn({1, 7, 6})).sum().backward();
  for (const auto& item : unet->named_parameters()) EXPECT_TRUE(item.value().grad().defined()) << item.key();
}

TEST(AutoencoderConfig, WhatIsNotSupportedIsNamed) {
  EXPECT_ERROR(autoencoder_config(with(autoencoder_fields(), "up_block_types", {"UpDecoderBlock2D", "AttnUpDecoderBlock2D"})), core::DataError,
               "vae/config.json: \"up_block_types\" holds \"AttnUpDecoderBlock2D\"");
  EXPECT_ERROR(autoencoder_config(with(autoencoder_fields(), "shift_factor", 0.1)), core::DataError, "\"shift_factor\"");
  EXPECT_ERROR(autoencoder_config(with(autoencoder_fields(), "latents_mean", {0.1, 0.2})), core::DataError, "\"latents_mean\"");
  EXPECT_ERROR(autoencoder_config(with(autoencoder_fields(), "norm_num_groups", 3)), core::DataError, "\"norm_num_groups\"");
  EXPECT_EQ(autoencoder_config(with(autoencoder_fields(), "force_upcast", false)).channels.size(), 2u);
}

TEST(AutoencoderConfig, TaesdsAreReadAndWhatItCannotBeIsNamed) {
  const boost::json::object fields{{"_class_name", "AutoencoderTiny"}, {"latent_magnitude", 3}, {"latent_shift", 0.5}};
  const AutoencoderConfig taesd = autoencoder_config(fields);
  EXPECT_EQ(taesd.factor(), 8);
  EXPECT_EQ(taesd.scaling_factor, 1);
  EXPECT_EQ(taesd.tiny->decoder_blocks, (std::vector<int64_t>{3, 3, 3, 1}));
  EXPECT_ERROR(autoencoder_config(with(fields, "decoder_block_out_channels", {64, 64, 64, 32})), core::DataError, "\"decoder_block_out_channels\"");
  EXPECT_ERROR(autoencoder_config(with(fields, "num_encoder_blocks", {1, 3, 3})), core::DataError, "\"num_encoder_blocks\" has 3 levels");
  EXPECT_ERROR(autoencoder_config(with(fields, "act_fn", "gelu")), core::DataError, "\"act_fn\"");
  EXPECT_ERROR(autoencoder_config(with(fields, "shift_factor", 0.1)), core::DataError, "\"shift_factor\"");
  EXPECT_ERROR(autoencoder_config(with(fields, "_class_name", "VQModel")), core::DataError, "AutoencoderKL and AutoencoderTiny are supported");
}

TEST(Autoencoder, WeightsOfAnotherShapeAreNamed) {
  const TemporaryFolder folder;
  const auto sixteen = random<Autoencoder>(autoencoder_config(with(autoencoder_fields(), "latent_channels", 16)));
  put_component(folder, autoencoder_fields(), nn::state_of(*sixteen));
  EXPECT_ERROR(load_autoencoder(folder.path()), core::DataError, "the model needs [");
}

TEST(Autoencoder, OldAndNewNamesGiveTheSameNetworkAndBothTogetherAreRefused) {
  const torch::NoGradGuard no_grad;
  const TemporaryFolder folder;
  auto autoencoder = random<Autoencoder>(autoencoder_config());
  io::NamedTensors weights = nn::state_of(*autoencoder);
  const auto rename = [&](const char* from, const char* to) {
    auto node = weights.extract(from);
    node.key() = to;
    weights.insert(std::move(node));
  };
  rename("encoder.mid_block.attentions.0.to_q.weight", "encoder.mid_block.attentions.0.query.weight");
  rename("decoder.mid_block.attentions.0.to_out.0.bias", "decoder.mid_block.attentions.0.proj_attn.bias");
  put_component(folder, autoencoder_fields(), weights);
  const at::Tensor images = at::rand({1, 3, 8, 6});
  EXPECT_TRUE(at::allclose(load_autoencoder(folder.path())->encode(images).mean, autoencoder->encode(images).mean, 1e-4, 1e-5));
  weights.emplace("encoder.mid_block.attentions.0.to_q.weight", at::zeros({16, 16}));
  put_component(folder, autoencoder_fields(), weights);
  EXPECT_ERROR(load_autoencoder(folder.path()), core::DataError, "attentions.0.query.weight");
}

TEST(Autoencoder, SampleIsMeanPlusStandardDeviationTimesNoise) {
  const LatentDistribution latents{.mean = at::ones({1, 1, 1, 1}), .logvar = at::full({1, 1, 1, 1}, 2 * std::log(3.0))};
  EXPECT_FLOAT_EQ(latents.sample(at::full({1, 1, 1, 1}, 2.0)).item<float>(), 7.0f);
}

TEST(Autoencoder, LogVarianceIsClamped) {
  const torch::NoGradGuard no_grad;
  auto autoencoder = random<Autoencoder>(autoencoder_config());
  nn::state_of(*autoencoder).at("quant_conv.bias").fill_(1e3);
  EXPECT_FLOAT_EQ(autoencoder->encode(at::rand({1, 3, 8, 6})).logvar.max().item<float>(), 20.0f);
}
