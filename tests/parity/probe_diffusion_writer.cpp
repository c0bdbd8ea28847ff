#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/core/philox.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/diffusion/scheduler.h"
#include "syncdr/diffusion/tokenizer.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/initialise.h"

using namespace syncdr;

namespace {

struct WriterProbeConfig {
  std::string pipeline;
  std::vector<std::string> texts;
  int64_t condition_channels = 0;

  void visit(core::Fields& field) {
    field(pipeline, "pipeline", "class of the pipeline");
    field(texts, "texts", "to be tokenized");
    field(condition_channels, "condition_channels", "input channels of the UNet behind the latents'");
  }
};

/// Norms and biases too, which begin as ones and zeros: a swapped or forgotten one must show.
template <class Holder> void randomise(Holder& holder, const std::string& name) {
  const torch::NoGradGuard no_grad;
  nn::initialise(*holder, name, 3);
  for (auto& item : holder->named_parameters()) {
    if (item.value().dim() != 1) continue;
    at::Tensor noise = at::empty(item.value().sizes(), at::kFloat);
    core::Random(4, core::Purpose::weights, io::hash64(name + item.key())).fill_normal({noise.template data_ptr<float>(), size_t(noise.numel())});
    item.value().add_(noise, 0.3);
  }
  holder->eval();
}

}  // namespace

SYNCDR_PROBE(write_checkpoint,
             "--model: the folder where a checkpoint of small networks is written. sample [B, C, h, w], times [B], ids [B, L] int64, latents [B, 8, h, w]\n"
             "-> computed with them: hidden [B, L, D] of ids, output [B, 8, h, w] of sample under hidden, images [B, 3, H, W] of latents,\n"
             "encoded [T, 32] int64 of the texts, alphas [1000] of the scheduler\n"
             "TOML: pipeline (class), texts, condition_channels") {
  WriterProbeConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  const torch::NoGradGuard no_grad;
  diffusion::UNet unet(diffusion::UNetConfig{.in_channels = 8 + config.condition_channels,
                                             .out_channels = 8,
                                             .sample_height = 8,
                                             .sample_width = 8,
                                             .down_blocks = {"DownBlock2D", "CrossAttnDownBlock2D"},
                                             .up_blocks = {"CrossAttnUpBlock2D", "UpBlock2D"},
                                             .channels = {16, 32},
                                             .layers = {1, 2},
                                             .heads = {2, 4},
                                             .transformer_layers = {1, 1},
                                             .only_cross_attention = {false, false},
                                             .text_width = 24,
                                             .norm_groups = 8});
  diffusion::Autoencoder autoencoder(
      diffusion::AutoencoderConfig{.latent_channels = 8, .channels = {8, 16, 16}, .norm_groups = 8, .scaling_factor = 0.7, .mid_attention = true});
  diffusion::TextEncoder text_encoder(diffusion::TextEncoderConfig{.vocabulary = 514, .positions = 32, .width = 24, .hidden = 48, .layers = 2, .heads = 4});
  randomise(unet, "unet");
  randomise(autoencoder, "vae");
  randomise(text_encoder, "text_encoder");

  diffusion::save_unet(model / "unet", unet, at::kFloat);
  diffusion::save_autoencoder(model / "vae", autoencoder, at::kFloat);
  diffusion::save_text_encoder(model / "text_encoder", text_encoder, at::kFloat);
  diffusion::save_byte_tokenizer(model / "tokenizer", 32);
  diffusion::save_scheduler(model / "scheduler", {.zero_terminal_snr = true});
  diffusion::save_model_index(model, config.pipeline);

  const at::Tensor hidden = text_encoder->forward(in.at("ids"));
  return {{"hidden", hidden},
          {"output", unet->forward(in.at("sample"), in.at("times"), hidden)},
          {"images", autoencoder->decode(in.at("latents"))},
          {"encoded", diffusion::Tokenizer(model / "tokenizer").encode(config.texts)},
          {"alphas", at::tensor(diffusion::load_scheduler(model / "scheduler")->alphas_cumprod())}};
}
