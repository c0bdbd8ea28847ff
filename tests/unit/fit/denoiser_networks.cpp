#include "denoiser_networks.h"

#include <gmock/gmock.h>
#include <torch/utils.h>

#include "support/temporary_folder.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"
#include "view_encoder.h"

namespace syncdr::fit {
namespace {

diffusion::Autoencoder small_autoencoder() {
  diffusion::Autoencoder autoencoder(diffusion::AutoencoderConfig{.latent_channels = 3, .channels = {8, 16}, .norm_groups = 4, .scaling_factor = 0.5});
  nn::initialise(*autoencoder, "autoencoder", 2);
  autoencoder->eval();
  return autoencoder;
}

class DenoiserNetworksTest : public testing::Test {
 protected:
  DenoiserNetworksTest() {
    config_.prompts = {"a warm picture", "a cold picture"};
    config_.unet = {.channels = {8, 16}, .head_width = 8, .norm_groups = 4};
    config_.text = {.width = 16, .layers = 1, .heads = 2, .length = 24};
    config_.augment = {.resize = 16, .crop = 16};
  }
  DenoiserNetworks make(uint64_t seed = 1) {
    diffusion::Autoencoder autoencoder = small_autoencoder();
    diffusion::save_autoencoder(folder_ / "autoencoder", autoencoder, at::kFloat);
    write_companions(config_, folder_ / "made");
    return make_networks(config_, folder_ / "autoencoder", folder_ / "made", seed);
  }
  /// A plain checkpoint to go on from.
  void save_plain() {
    config_.layout = "text";
    DenoiserNetworks networks = make();
    nn::initialise(*networks.unet, "other", 4);
    diffusion::save_unet(folder_ / "made" / "unet", networks.unet, at::kFloat);
    diffusion::save_text_encoder(folder_ / "made" / "text_encoder", networks.text_encoder, at::kFloat);
    diffusion::save_autoencoder(folder_ / "made" / "vae", networks.autoencoder, at::kFloat);
    diffusion::save_model_index(folder_ / "made", "StableDiffusionPipeline");
    config_.from = (folder_ / "made").string();
  }

  TemporaryFolder folder_;
  DiffusionFitConfig config_;
};

TEST_F(DenoiserNetworksTest, FromScratchFitTheFirstStageAndDependOnTheSeedAlone) {
  const DenoiserNetworks networks = make(), again = make(), other = make(9);
  EXPECT_EQ(networks.unet->config().in_channels, 6);
  EXPECT_EQ(networks.unet->config().out_channels, 3);
  EXPECT_THAT(networks.latent_shape(16), testing::ElementsAre(3, 8, 8));
  EXPECT_EQ(networks.tokens.sizes(), (std::vector<int64_t>{3, 24}));
  EXPECT_EQ(networks.scheduler->prediction(), diffusion::Prediction::v_prediction);
  EXPECT_EQ(networks.scheduler->alphas_cumprod().back(), 0);
  EXPECT_EQ(nn::state_hash(*networks.unet), nn::state_hash(*again.unet));
  EXPECT_EQ(nn::state_hash(*networks.text_encoder), nn::state_hash(*again.text_encoder));
  EXPECT_NE(nn::state_hash(*networks.unet), nn::state_hash(*other.unet));
}

TEST_F(DenoiserNetworksTest, RefusesPromptsThatTheTokenizerCutsToTheSame) {
  config_.text.length = 6;
  config_.prompts = {"picture a", "picture b"};
  EXPECT_ERROR(make(), core::UsageError, "are the same 6 tokens");
}

TEST_F(DenoiserNetworksTest, RefusesImagesThatTheAutoencoderWouldEnlarge) {
  config_.augment.crop = 17;
  EXPECT_ERROR(make(), core::UsageError, "fit.diffusion.augment.crop = 17: the autoencoder needs a multiple of 2");
}

TEST_F(DenoiserNetworksTest, NewConditionChannelsOfACheckpointChangeNothingAtFirst) {
  const torch::NoGradGuard no_grad;
  save_plain();
  DenoiserNetworks plain = load_networks(config_);
  config_.layout = "instruct";
  DenoiserNetworks wider = load_networks(config_);
  EXPECT_FALSE(plain.new_condition);
  EXPECT_TRUE(wider.new_condition);
  const at::Tensor sample = at::randn({2, 3, 8, 8}), text = at::randn({2, 24, 16});
  const at::Tensor output = plain.unet->forward(sample, 10.0, diffusion::TextContext(text));
  EXPECT_GT(output.abs().max().item<float>(), 0);
  EXPECT_TRUE(at::allclose(wider.unet->forward(at::cat({sample, at::randn({2, 3, 8, 8})}, 1), 10.0, diffusion::TextContext(text)), output, 1e-5, 1e-6));
}

TEST_F(DenoiserNetworksTest, RefusesAnImageConditionWhereTheLayoutHasNone) {
  save_plain();
  config_.layout = "instruct";
  DenoiserNetworks wider = load_networks(config_);
  diffusion::save_unet(folder_ / "made" / "unet", wider.unet, at::kFloat);
  config_.layout = "text";
  EXPECT_ERROR(load_networks(config_), core::UsageError, "6 input channels, layout \"text\" needs 3");
}

TEST_F(DenoiserNetworksTest, AViewIsEncodedToTheSameBitsInAnyCompanyAndWhenKept) {
  config_.views = 2;
  const DenoiserOptions options = options_of(config_, 1);
  ViewEncoder whole(small_autoencoder(), at::kCPU, options), parts(small_autoencoder(), at::kCPU, options);
  DenoiserBatch all;
  all.images = at::randint(256, {20, 3, 16, 16}).to(at::kByte);
  all.sigmas = at::linspace(0.7, 1.8, 20);
  for (int64_t i = 0; i < 20; ++i) {
    all.views.push_back({0, i, 0});
    all.loaded.push_back(i);
  }
  const EncodedViews company = whole.encode(all);
  DenoiserBatch others = all;  // another view in the place of number 17
  others.views[17] = {0, 17, 1};
  parts.encode(others);
  EXPECT_FALSE(parts.has({0, 17, 0}));
  const EncodedViews alone = parts.encode({.views = all.views, .loaded = {17}, .images = all.images.narrow(0, 17, 1), .sigmas = all.sigmas.narrow(0, 17, 1)});
  EXPECT_TRUE(parts.has({0, 17, 0}));
  const EncodedViews kept = parts.encode({.views = all.views});
  for (const EncodedViews& other : {alone, kept}) {
    EXPECT_TRUE(other.latents.equal(company.latents));
    EXPECT_TRUE(other.condition.equal(company.condition));
  }
  EXPECT_FALSE(company.latents[3].equal(company.condition[3]));
}

}  // namespace
}  // namespace syncdr::fit
