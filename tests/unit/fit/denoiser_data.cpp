#include "denoiser_data.h"

#include <gmock/gmock.h>
#include <torch/utils.h>

#include <map>
#include <set>

#include "retrieval/tiny_dataset.h"
#include "support/temporary_folder.h"

namespace syncdr::fit {
namespace {

class DenoiserData : public testing::Test {
 protected:
  DenoiserData() {
    config_.batch = 16;
    config_.augment = {.resize = 18, .crop = 16};
  }
  DenoiserBatches batches(training::Part part, std::function<bool(const ImageView&)> encoded = [](const ImageView&) { return false; }) const {
    return {dataset_, domains_, options_of(config_, std::ssize(domains_)), 5, part, {.latent = {2, 4, 4}, .train_steps = 100}, std::move(encoded)};
  }

  TemporaryFolder folder_;
  data::Dataset dataset_{test::TinyDataset{.first = 20, .second = 30, .third = 25, .side = 20}.write(folder_.path() / "data")};
  std::vector<std::string> domains_ = {"warm", "cold"};
  DiffusionFitConfig config_;
};

/// The mean of a 0-or-1 figure of all images over many steps.
template <class Figure> double rate_of(const DenoiserBatches& batches, int64_t steps, Figure figure) {
  double sum = 0;
  for (int64_t step = 0; step < steps; ++step) sum += figure(batches.load(step)).to(at::kDouble).mean().template item<double>();
  return sum / static_cast<double>(steps);
}

TEST_F(DenoiserData, PromptAndConditionAreLeftOutAtTheirRatesIndependently) {
  config_.drop_prompt = 0.3;
  config_.drop_condition = 0.2;
  const DenoiserBatches all = batches({0, 16}, [](const ImageView&) { return true; });
  const int64_t steps = 250;  // 4,000 images: a standard deviation of 0.007
  EXPECT_NEAR(rate_of(all, steps, [](const DenoiserBatch& batch) { return batch.prompts == 2; }), 0.3, 0.03);
  EXPECT_NEAR(rate_of(all, steps, [](const DenoiserBatch& batch) { return batch.keeps_condition == 0; }), 0.2, 0.03);
  EXPECT_NEAR(rate_of(all, steps, [](const DenoiserBatch& batch) { return (batch.prompts == 2) & (batch.keeps_condition == 0); }), 0.06, 0.02);
  EXPECT_NEAR(rate_of(all, steps, [](const DenoiserBatch& batch) { return batch.times < 50; }), 0.5, 0.04);
}

TEST_F(DenoiserData, HalfOfABatchIsOfEachDomainWithItsPrompt) {
  config_.drop_prompt = 0;
  const DenoiserBatch batch = batches({0, 16}).load(3);
  ASSERT_EQ(batch.views.size(), 16u);
  EXPECT_EQ(batch.images.sizes(), (std::vector<int64_t>{16, 3, 16, 16}));
  for (int64_t row = 0; row < 16; ++row) {
    EXPECT_EQ(batch.prompts[row].item<int64_t>(), row < 8 ? 0 : 1);
    EXPECT_EQ(batch.views[static_cast<size_t>(row)].domain, row < 8 ? 0 : 1);
  }
}

TEST_F(DenoiserData, EachImageHasOneOfItsDomainsTexts) {
  config_.drop_prompt = 0.2;
  DenoiserOptions options = options_of(config_, 2);
  options.texts = 3;
  const DenoiserBatches all(dataset_, domains_, options, 5, {0, 16}, {.latent = {2, 4, 4}, .train_steps = 100}, [](const ImageView&) { return true; });
  std::map<int64_t, int64_t> counts;
  for (int64_t step = 0; step < 150; ++step) {
    const DenoiserBatch batch = all.load(step);
    for (size_t row = 0; row < batch.views.size(); ++row) {
      const int64_t text = batch.prompts[static_cast<int64_t>(row)].item<int64_t>();
      EXPECT_TRUE(text == 6 || text / 3 == batch.views[row].domain) << text;
      ++counts[text];
    }
  }
  EXPECT_EQ(counts.size(), 7U);
  for (int64_t text = 0; text < 6; ++text) EXPECT_NEAR(static_cast<double>(counts[text]), 320, 80) << text;  // of 2,400 images; a deviation of 17
}

TEST_F(DenoiserData, AThirdOfABatchIsOfEachOfThreeDomains) {
  domains_ = {"warm", "cold", "mild"};
  config_.batch = 15;
  config_.drop_prompt = 0.5;
  std::set<int64_t> prompts, views;
  for (const training::Part part : {training::Part{0, 7}, training::Part{7, 15}}) {
    const DenoiserBatch batch = batches(part).load(2);
    for (size_t row = 0; row < batch.views.size(); ++row) {
      const int64_t prompt = batch.prompts[static_cast<int64_t>(row)].item<int64_t>();
      EXPECT_TRUE(prompt == 3 || prompt == batch.views[row].domain) << prompt;
      prompts.insert(prompt);
      views.insert(batch.views[row].id());
    }
  }
  EXPECT_EQ(views.size(), 15u);
  EXPECT_THAT(prompts, testing::ElementsAre(0, 1, 2, 3));
}

TEST_F(DenoiserData, PartsOfABatchHoldWhatTheWholeHolds) {
  const DenoiserBatch whole = batches({0, 16}).load(4);
  const auto row_of = [&](const ImageView& view) {
    for (size_t row = 0; row < whole.views.size(); ++row)
      if (whole.views[row].id() == view.id()) return static_cast<int64_t>(row);
    return int64_t{-1};
  };
  int64_t seen = 0;
  for (const training::Part part : {training::Part{0, 5}, training::Part{5, 6}, training::Part{6, 16}}) {
    const DenoiserBatch batch = batches(part).load(4);
    for (size_t i = 0; i < batch.views.size(); ++i, ++seen) {
      const auto row = static_cast<int64_t>(i), other = row_of(batch.views[i]);
      ASSERT_GE(other, 0);
      EXPECT_TRUE(batch.images[row].equal(whole.images[other]));
      EXPECT_TRUE(batch.noise[row].equal(whole.noise[other]));
      EXPECT_TRUE(batch.condition_noise[row].equal(whole.condition_noise[other]));
      EXPECT_EQ(batch.times[row].item<int64_t>(), whole.times[other].item<int64_t>());
      EXPECT_EQ(batch.sigmas[row].item<float>(), whole.sigmas[other].item<float>());
    }
  }
  EXPECT_EQ(seen, 16);
}

TEST_F(DenoiserData, AnEpochOfViewsComesBackAfterAsManyEpochsAsThereAreViews) {
  config_.views = 2;
  const DenoiserBatches all = batches({0, 16});
  // 20 images in batches of 8: two batches an epoch of the first domain
  EXPECT_EQ(all.load(0).views[0].view, 0);
  EXPECT_EQ(all.load(2).views[0].view, 1);
  EXPECT_EQ(all.load(4).views[0].view, 0);
}

TEST_F(DenoiserData, PixelsOfEncodedViewsAreNotLoaded) {
  const DenoiserBatch batch = batches({0, 16}, [](const ImageView& view) { return view.domain == 0; }).load(1);
  EXPECT_THAT(batch.loaded, testing::ElementsAre(8, 9, 10, 11, 12, 13, 14, 15));
  EXPECT_EQ(batch.images.size(0), 8);
  EXPECT_EQ(batch.sigmas.numel(), 8);
  EXPECT_EQ(batch.noise.size(0), 16);
}

TEST_F(DenoiserData, BlursAndConditionNoiseStayWithinTheirLimits) {
  const DenoiserBatch batch = batches({0, 16}).load(1);
  EXPECT_GE(batch.sigmas.min().item<double>(), 0.7);
  EXPECT_LE(batch.sigmas.max().item<double>(), 1.8);
  EXPECT_LT(batch.condition_noise.std().item<double>(), 0.15);
  EXPECT_GT(batch.condition_noise.std().item<double>(), 0.03);
}

}  // namespace
}  // namespace syncdr::fit
