#include "syncdr/diffusion/vision_encoder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "diffusion/tiny_elite.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

class VisionEncoderTest : public testing::Test {
 protected:
  VisionEncoderTest() { TinyElite::put_image_encoder(folder_.path(), TinyElite::vision()); }
  void expect_config_refused(const std::string& config, const char* text) {
    test::put(folder_ / "config.json", config);
    EXPECT_ERROR(read_vision_encoder_config(folder_.path()), core::DataError, text);
  }

  TemporaryFolder folder_;
};

TEST_F(VisionEncoderTest, GivesAStateBeforeTheFirstLayerAndBehindEach) {
  const torch::NoGradGuard no_grad;
  VisionEncoder encoder = load_vision_encoder(folder_.path());
  const auto states = encoder->forward(at::ones({2, 3, 8, 8}));
  ASSERT_EQ(states.size(), 17U);
  for (const at::Tensor& state : states) EXPECT_EQ(state.sizes(), (std::vector<int64_t>{2, 5, 6}));
  EXPECT_ERROR(encoder->forward(at::ones({2, 3, 8, 9})), core::UsageError, "needs images [B, 3, 8, 8], got [2, 3, 8, 9]");
}

TEST_F(VisionEncoderTest, TakesFilesOfWholeModelsAndOfOlderVersions) {
  const std::string hash = nn::state_hash(*load_vision_encoder(folder_.path()));
  io::NamedTensors weights = io::read_safetensors(folder_ / "model.safetensors").tensors;
  weights["vision_model.embeddings.position_ids"] = at::arange(5).unsqueeze(0);
  for (const char* name : {"text_model.final_layer_norm.weight", "text_projection.weight", "visual_projection.weight", "logit_scale"})
    weights[name] = at::ones({2});
  io::write_safetensors(folder_ / "model.safetensors", weights);
  EXPECT_EQ(nn::state_hash(*load_vision_encoder(folder_.path())), hash);
  weights.erase("vision_model.post_layernorm.bias");
  io::write_safetensors(folder_ / "model.safetensors", weights);
  EXPECT_ERROR(load_vision_encoder(folder_.path()), core::DataError, "\"vision_model.post_layernorm.bias\" missing");
}

TEST_F(VisionEncoderTest, ReadsTheConfigurationOfAWholeModel) {
  test::put(folder_ / "config.json", R"({"model_type": "clip", "logit_scale_init_value": 2.6, "vision_config": {"hidden_size": 1024, "num_attention_heads": 16,
      "num_hidden_layers": 24, "intermediate_size": 4096, "patch_size": 14, "model_type": "clip_vision_model"}})");
  const VisionEncoderConfig config = read_vision_encoder_config(folder_.path());
  EXPECT_EQ(config.width, 1024);
  EXPECT_EQ(config.layers, 24);
  EXPECT_EQ(config.positions(), 257);
  expect_config_refused(R"({"vision_config": {"hidden_size": 7, "num_attention_heads": 2}})", "config.json: vision_config: \"hidden_size\" (7)");
  expect_config_refused(R"({"vision_config": 3})", "\"vision_config\"");
}

TEST_F(VisionEncoderTest, RefusesFieldsByName) {
  expect_config_refused(R"({"model_type": "siglip_vision_model"})", "\"model_type\" is \"siglip_vision_model\"");
  expect_config_refused(R"({"num_channels": 4})", "\"num_channels\"");
  expect_config_refused(R"({"image_size": 8, "patch_size": 9})", "\"patch_size\" is 9");
  expect_config_refused(R"({"hidden_act": "swish"})", "\"hidden_act\" is \"swish\"");
  expect_config_refused(R"({"rotary": true})", "\"rotary\"");
}

TEST(ClipPixels, HaveClipsMeanAndDeviation) {
  const at::Tensor pixels = clip_pixels(at::full({2, 3, 10, 10}, 128 / 127.5 - 1), 6);  // bytes of 128
  EXPECT_EQ(pixels.sizes(), (std::vector<int64_t>{2, 3, 6, 6}));
  EXPECT_NEAR(pixels[1][0][2][3].item<double>(), (128 / 255.0 - 0.48145466) / 0.26862954, 1e-6);
  EXPECT_NEAR(pixels[0][2][5][0].item<double>(), (128 / 255.0 - 0.40821073) / 0.27577711, 1e-6);
}

}  // namespace
}  // namespace syncdr::diffusion
