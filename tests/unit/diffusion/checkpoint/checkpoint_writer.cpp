#include "syncdr/diffusion/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/scheduler.h"
#include "syncdr/diffusion/tokenizer.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {
namespace {

/// No field at its default.
UNetConfig written_unet() {
  return {.in_channels = 5,
          .out_channels = 3,
          .sample_height = 8,
          .sample_width = 16,
          .down_blocks = {"DownBlock2D", "CrossAttnDownBlock2D"},
          .up_blocks = {"CrossAttnUpBlock2D", "UpBlock2D"},
          .channels = {8, 12},
          .layers = {1, 2},
          .heads = {2, 3},
          .transformer_layers = {1, 2},
          .only_cross_attention = {false, true},
          .text_width = 6,
          .linear_projection = true,
          .center_input = true,
          .flip_sin_to_cos = false,
          .frequency_shift = 1,
          .norm_groups = 4,
          .norm_epsilon = 1e-3,
          .downsample_padding = 0,
          .mid_scale = 1.5,
          .guidance_width = 6};
}

AutoencoderConfig written_autoencoder() {
  return {.in_channels = 1,
          .out_channels = 2,
          .latent_channels = 3,
          .channels = {8, 16},
          .layers = 2,
          .norm_groups = 4,
          .scaling_factor = 1 / 3.0,
          .quant_conv = false,
          .post_quant_conv = false,
          .mid_attention = false};
}

TextEncoderConfig written_text_encoder() {
  return {.vocabulary = 514,
          .positions = 9,
          .width = 12,
          .hidden = 20,
          .layers = 2,
          .heads = 3,
          .activation = "gelu",
          .norm_epsilon = 1e-6,
          .attention_dropout = 0.25};
}

template <class Config> Config read_back(const Config& config, Config (*read)(ConfigReader&)) {
  const std::string text = io::pretty_json(describe(config));
  ConfigReader reader(io::as_object(io::parse_json(text, "text"), "text"), "text");
  return read(reader);
}

void expect_same_state(const torch::nn::Module& a, const torch::nn::Module& b) { EXPECT_EQ(nn::state_hash(a), nn::state_hash(b)); }

/// A whole checkpoint of tiny networks with random weights.
struct WrittenCheckpoint {
  UNet unet{UNetConfig{.sample_height = 8, .sample_width = 8, .channels = {8, 8, 8, 16}, .text_width = 12, .norm_groups = 4}};
  Autoencoder autoencoder{AutoencoderConfig{.channels = {8, 16}, .norm_groups = 4, .scaling_factor = 0.7}};
  TextEncoder text_encoder{written_text_encoder()};
  TemporaryFolder folder;

  WrittenCheckpoint() {
    nn::initialise(*unet, "unet", 1);
    nn::initialise(*autoencoder, "vae", 1);
    nn::initialise(*text_encoder, "text_encoder", 1);
    save_unet(folder / "unet", unet, at::kFloat);
    save_autoencoder(folder / "vae", autoencoder, at::kFloat);
    save_text_encoder(folder / "text_encoder", text_encoder, at::kFloat);
    save_byte_tokenizer(folder / "tokenizer", 9);
    save_scheduler(folder / "scheduler", {});
    save_model_index(folder.path(), "StableDiffusionPipeline");
  }
};

TEST(CheckpointWriter, ADescribedUNetIsReadBackInAllFields) {
  const UNetConfig made = written_unet(), read = read_back(made, read_unet_config);
  EXPECT_EQ(read.in_channels, made.in_channels);
  EXPECT_EQ(read.out_channels, made.out_channels);
  EXPECT_EQ(read.sample_height, made.sample_height);
  EXPECT_EQ(read.sample_width, made.sample_width);
  EXPECT_EQ(read.down_blocks, made.down_blocks);
  EXPECT_EQ(read.up_blocks, made.up_blocks);
  EXPECT_EQ(read.channels, made.channels);
  EXPECT_EQ(read.layers, made.layers);
  EXPECT_EQ(read.heads, made.heads);
  EXPECT_EQ(read.transformer_layers, made.transformer_layers);
  EXPECT_EQ(read.only_cross_attention, made.only_cross_attention);
  EXPECT_EQ(read.text_width, made.text_width);
  EXPECT_EQ(read.linear_projection, made.linear_projection);
  EXPECT_EQ(read.center_input, made.center_input);
  EXPECT_EQ(read.flip_sin_to_cos, made.flip_sin_to_cos);
  EXPECT_EQ(read.frequency_shift, made.frequency_shift);
  EXPECT_EQ(read.norm_groups, made.norm_groups);
  EXPECT_EQ(read.norm_epsilon, made.norm_epsilon);
  EXPECT_EQ(read.downsample_padding, made.downsample_padding);
  EXPECT_EQ(read.mid_scale, made.mid_scale);
  EXPECT_EQ(describe(read), describe(made));
}

TEST(CheckpointWriter, AnUnknownSampleSizeStaysUnknown) {
  const UNetConfig read = read_back(UNetConfig{}, read_unet_config);
  EXPECT_EQ(read.sample_height, 0);
  EXPECT_EQ(describe(read), describe(UNetConfig{}));
}

TEST(CheckpointWriter, ADescribedAutoencoderIsReadBackInAllFields) {
  const AutoencoderConfig made = written_autoencoder(), read = read_back(made, read_autoencoder_config);
  EXPECT_EQ(read.in_channels, made.in_channels);
  EXPECT_EQ(read.out_channels, made.out_channels);
  EXPECT_EQ(read.latent_channels, made.latent_channels);
  EXPECT_EQ(read.channels, made.channels);
  EXPECT_EQ(read.layers, made.layers);
  EXPECT_EQ(read.norm_groups, made.norm_groups);
  EXPECT_EQ(read.scaling_factor, made.scaling_factor);
  EXPECT_EQ(read.quant_conv, made.quant_conv);
  EXPECT_EQ(read.post_quant_conv, made.post_quant_conv);
  EXPECT_EQ(read.mid_attention, made.mid_attention);
}

TEST(CheckpointWriter, ADescribedTextEncoderIsReadBackInAllFields) {
  const TextEncoderConfig made = written_text_encoder();
  TemporaryFolder folder;
  io::write_json(folder / "config.json", describe(made));
  const TextEncoderConfig read = read_text_encoder_config(folder / "config.json");
  EXPECT_EQ(read.vocabulary, made.vocabulary);
  EXPECT_EQ(read.positions, made.positions);
  EXPECT_EQ(read.width, made.width);
  EXPECT_EQ(read.hidden, made.hidden);
  EXPECT_EQ(read.layers, made.layers);
  EXPECT_EQ(read.heads, made.heads);
  EXPECT_EQ(read.activation, made.activation);
  EXPECT_EQ(read.norm_epsilon, made.norm_epsilon);
  EXPECT_EQ(read.attention_dropout, made.attention_dropout);
}

TEST(CheckpointWriter, NetworksAreReadBackBitForBit) {
  WrittenCheckpoint written;
  const CheckpointFolder checkpoint(written.folder.path());
  EXPECT_EQ(checkpoint.pipeline(), "StableDiffusionPipeline");
  EXPECT_ERROR(checkpoint.class_of("safety_checker"), core::DataError, "has no component");
  expect_same_state(*load_unet(checkpoint), *written.unet);
  expect_same_state(*load_autoencoder(checkpoint), *written.autoencoder);
  expect_same_state(*load_text_encoder(checkpoint), *written.text_encoder);
  EXPECT_EQ(load_autoencoder(checkpoint)->config().scaling_factor, 0.7);
}

TEST(CheckpointWriter, HalfPrecisionIsRoundedOnceAndSaidSo) {
  TemporaryFolder folder;
  TextEncoder made(written_text_encoder());
  nn::initialise(*made, "text_encoder", 1);
  save_text_encoder(folder.path(), made, at::kBFloat16);
  const io::NamedTensors weights = read_weights(folder.path(), "model");
  for (const auto& [name, tensor] : nn::state_of(*made)) EXPECT_TRUE(weights.at(name).equal(tensor.to(at::kBFloat16))) << name;
  EXPECT_EQ(io::read_json(folder / "config.json").at("torch_dtype"), "bfloat16");
  EXPECT_ERROR(save_text_encoder(folder.path(), made, at::kDouble), core::UsageError, "not in Double");
}

TEST(CheckpointWriter, TheByteTokenizerKnowsEveryTextAndFillsItsLength) {
  TemporaryFolder folder;
  save_byte_tokenizer(folder.path(), 9);
  const Tokenizer tokenizer(folder.path());
  EXPECT_EQ(tokenizer.size(), 514);
  EXPECT_EQ(tokenizer.length(), 9);
  EXPECT_EQ(tokenizer.start(), 512);
  EXPECT_EQ(tokenizer.end(), 513);
  EXPECT_EQ(tokenizer.pad(), 513);
  EXPECT_THAT(tokenizer.ids("A bc"), testing::ElementsAre(256 + 'a', 'b', 256 + 'c'));
  EXPECT_THAT(tokenizer.ids("\u00E9\U0001F600"), testing::ElementsAre(0xC3, 256 + 0xA9, 0xF0, 0x9F, 0x98, 256 + 0x80));
  EXPECT_EQ(tokenizer.encode({"photo", "a drawing"}).size(1), 9);
  EXPECT_TRUE(Tokenizer::of_bytes(9).encode({"Photo \u00E9", "a drawing"}).equal(tokenizer.encode({"Photo \u00E9", "a drawing"})));
  EXPECT_ERROR(save_byte_tokenizer(folder.path(), 2), core::UsageError, "texts of 2 tokens");
}

TEST(CheckpointWriter, TheSchedulerIsTheOneDescribed) {
  TemporaryFolder folder;
  save_scheduler(folder.path(), {.train_steps = 100, .prediction = "v_prediction", .zero_terminal_snr = true});
  const auto scheduler = load_scheduler(folder.path());
  EXPECT_EQ(scheduler->name(), "DDIMScheduler");
  EXPECT_EQ(scheduler->train_steps(), 100);
  EXPECT_EQ(scheduler->prediction(), Prediction::v_prediction);
  EXPECT_EQ(scheduler->alphas_cumprod().back(), 0);
  scheduler->set_steps(10);
  EXPECT_EQ(scheduler->timesteps().front(), 99);  // trailing
}

TEST(CheckpointWriter, TheIndexNamesTheSchedulersOwnClass) {
  WrittenCheckpoint written;
  EXPECT_EQ(CheckpointFolder(written.folder.path()).class_of("scheduler"), "DDIMScheduler");
  test::put(written.folder / "scheduler/scheduler_config.json", R"({"_class_name": "PNDMScheduler", "skip_prk_steps": true})");
  save_model_index(written.folder.path(), "StableDiffusionPipeline");
  EXPECT_EQ(CheckpointFolder(written.folder.path()).class_of("scheduler"), "PNDMScheduler");
  test::put(written.folder / "scheduler/scheduler_config.json", R"({"_class_name": "DEISMultistepScheduler", "lambda_min_clipped": -Infinity})");
  save_model_index(written.folder.path(), "StableDiffusionPipeline");
  EXPECT_EQ(CheckpointFolder(written.folder.path()).class_of("scheduler"), "DEISMultistepScheduler");
}

TEST(CheckpointWriter, AnIndexOfPartsThatAreNotThereIsABug) {
  TemporaryFolder folder;
  EXPECT_ERROR(save_model_index(folder.path(), "StableDiffusionPipeline"), core::BugError, "unet is not written yet");
}

}  // namespace
}  // namespace syncdr::diffusion
