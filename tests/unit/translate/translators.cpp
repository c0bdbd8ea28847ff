#include <gtest/gtest.h>

#include "each_image.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/gan/generator_file.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {
namespace {

at::Tensor random_images(int64_t count, int64_t size) { return at::randint(0, 256, {count, 3, size, size}, at::kByte); }

std::unique_ptr<Translator> make_one(const TranslateConfig& config) { return make_translator(config, "Art", "Clipart", at::kCPU); }

/// Each image alone among black ones, at every place of the batch in turn, must come out as it did among the others. Bytes and floats alike:
/// forward [batch, 3, S, S] uint8 -> [batch, ...].
template <class Forward> void expect_independent(const at::Tensor& images, const Forward& forward) {
  const auto batch = images.size(0);
  const auto together = forward(images);
  for (int64_t image = 0; image < batch; ++image)
    for (int64_t place = 0; place < batch; ++place) {
      auto alone = at::zeros_like(images);
      alone[place].copy_(images[image]);
      EXPECT_TRUE(at::equal(forward(alone)[place], together[image])) << "image " << image << " at place " << place;
    }
}

gan::Generator random_generator(int64_t width, int64_t blocks) {
  torch::manual_seed(3);
  gan::GeneratorConfig config;
  config.width = width;
  config.blocks = blocks;
  config.nce_layers = {0, 4};
  return gan::Generator(config);
}

at::Tensor generate(gan::Generator& generator, const at::Tensor& images) {
  return each_image(images, at::kCPU, [&](const at::Tensor& part, int64_t) { return generator->forward(part); });
}

TEST(ToBytes, RoundsToTheNearestAndCutsWhatLiesOutside) {
  const auto images = at::tensor({-1.0F, 1.0F, 0.0F, -0.999F, -0.998F, 7.0F}).view({1, 3, 1, 2});
  const auto out = to_bytes(images);
  EXPECT_TRUE(at::equal(out.images.flatten(), at::tensor({0, 255, 128, 0, 0, 255}, at::kByte)));
  EXPECT_TRUE(out.finite[0].item<bool>());
}

TEST(ToBytes, InvertsFromBytesExactly) {
  const auto images = at::arange(256, at::kByte).view({1, 1, 16, 16}).expand({1, 3, 16, 16}).contiguous();
  EXPECT_TRUE(at::equal(to_bytes(nn::from_bytes(images, at::kCPU)).images, images));
}

TEST(ToBytes, TellsTheImageThatHoldsNaNOrInfinity) {
  auto images = at::zeros({3, 3, 2, 2});
  images[0][1][0][1] = NAN;
  images[2][0][0][0] = -INFINITY;
  EXPECT_TRUE(at::equal(to_bytes(images).finite, at::tensor({0, 1, 0}).to(at::kBool)));
}

TEST(FilterTranslator, DrawsTheEdgeOfASquareDarkOnWhite) {
  auto images = at::full({1, 3, 32, 32}, 200, at::kByte);
  images[0][1].slice(0, 10, 22).slice(1, 10, 22).fill_(20);  // in one channel only
  const auto out = make_one({.translator = "filter", .size = 32, .batch = 1})->translate(images, {}).images;
  EXPECT_LT(out[0][0][16][10].item<int>(), 60);
  EXPECT_EQ(out[0][0][16][16].item<int>(), 255);
  EXPECT_EQ(out[0][0][2][2].item<int>(), 255);
  EXPECT_TRUE(at::equal(out[0][0], out[0][1]) && at::equal(out[0][0], out[0][2])) << "the picture is grey";
}

TEST(FilterTranslator, EqualsItsFormulaInTensorOperations) {
  torch::manual_seed(1);
  const int64_t size = 24;
  const double sigma = 1.3;
  const auto images = random_images(1, size);
  // The blur as OpenCV sizes it for floating point: 4 sigma to each side.
  const auto radius = static_cast<int64_t>(std::lround(sigma * 8 + 1) | 1) / 2;
  const auto x = at::arange(-radius, radius + 1).to(at::kDouble);
  auto kernel = (-x * x / (2 * sigma * sigma)).exp();
  kernel = kernel / kernel.sum();
  auto blurred = at::replication_pad2d(images.to(at::kDouble) / 255, {radius, radius, radius, radius}).view({3, 1, size + 2 * radius, size + 2 * radius});
  blurred = at::conv2d(at::conv2d(blurred, kernel.view({1, 1, 1, -1})), kernel.view({1, 1, -1, 1}));
  const auto padded = at::replication_pad2d(blurred, {1, 1, 1, 1});
  const auto middle = at::indexing::Slice(1, -1);
  const auto all = at::indexing::Slice();
  const auto dx = (padded.index({all, all, middle, at::indexing::Slice(2)}) - padded.index({all, all, middle, at::indexing::Slice(0, -2)})) / 2;
  const auto dy = (padded.index({all, all, at::indexing::Slice(2), middle}) - padded.index({all, all, at::indexing::Slice(0, -2), middle})) / 2;
  const auto g = std::get<0>((dx * dx + dy * dy).sqrt().max(0))[0];
  const auto expected = 255 * (1 - (g / (g.flatten().quantile(0.96) + 0.03)).clamp_max(1));
  const auto out = make_one({.translator = "filter", .size = size, .batch = 1, .filter = {.sigma = sigma}})->translate(images, {}).images;
  EXPECT_LE((out[0][0].to(at::kDouble) - expected).abs().max().item<double>(), 0.51);
}

TEST(FilterTranslator, DependsNeitherOnPlaceNorOnNeighbours) {
  const auto filter = make_one({.translator = "filter", .size = 20, .batch = 4});
  expect_independent(random_images(4, 20), [&](const at::Tensor& images) { return filter->translate(images, {}).images; });
}

// With 8 to 32 channels, layers of 32 to 192 pixels hold less and more than the 20,480 numbers at which LibTorch takes other kernels for one image.
TEST(CutTranslator, DependsNeitherOnPlaceNorOnNeighboursBitForBit) {
  auto generator = random_generator(8, 1);
  for (const int64_t side : {32, 100, 160, 192})
    expect_independent(random_images(side > 100 ? 2 : 4, side), [&](const at::Tensor& images) { return generate(generator, images); });
}

// World gives each rank its share of the cores: another number of ranks is another number of threads.
TEST(CutTranslator, GivesTheSameBitsWithAnyNumberOfThreads) {
  auto generator = random_generator(16, 2);
  const auto images = random_images(4, 64);
  const auto before = at::get_num_threads();
  at::set_num_threads(1);
  const auto expected = generate(generator, images);
  for (const int threads : {2, 3, 5}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(generate(generator, images), expected)) << threads << " threads";
    EXPECT_TRUE(at::equal(generate(generator, images.narrow(0, 2, 1))[0], expected[2])) << threads << " threads, one image";
    EXPECT_EQ(at::get_num_threads(), threads);
  }
  at::set_num_threads(before);
}

TEST(CutTranslator, SaysWhatMadeTheOutput) {
  TemporaryFolder folder;
  gan::save_generator(folder / "generator.safetensors", random_generator(8, 1));
  TranslateConfig config{.translator = "cut", .size = 32, .batch = 2};
  config.cut.weights = (folder / "generator.safetensors").string();
  const auto translator = make_one(config);
  const auto provenance = translator->provenance();
  EXPECT_EQ(provenance.at("translator"), "cut");
  EXPECT_EQ(provenance.at("weights"), "generator.safetensors") << "no path: it differs between machines";
  EXPECT_EQ(provenance.at("batch"), "2");
  EXPECT_EQ(provenance.at("device"), "cpu");
  EXPECT_EQ(provenance.at("model").size(), 32U);
  const auto images = random_images(2, 32);
  auto generator = gan::load_generator(folder / "generator.safetensors");
  EXPECT_TRUE(at::equal(translator->translate(images, {}).images, to_bytes(generate(generator, images)).images));
  const at::NoGradGuard no_grad;
  const auto whole_batch = generator->forward(nn::from_bytes(images, at::kCPU));
  EXPECT_TRUE(at::allclose(generate(generator, images), whole_batch, 1e-4, 1e-5)) << "one by one is the same function";
}

TEST(MakeTranslator, MissingWeightsSayHowToTrainThem) {
  TranslateConfig config;
  EXPECT_ERROR(make_one(config), core::DataError, "syncdr fit cut");
  config.cut.weights = "/nowhere/generator.safetensors";
  EXPECT_ERROR(make_one(config), core::DataError, "/nowhere/generator.safetensors: there is no generator");
}

TEST(MakeTranslator, RefusesNamesAndSizesItCannotServe) {
  EXPECT_ERROR(make_one({.translator = "magic"}), core::UsageError, "magic");
  TemporaryFolder folder;
  gan::save_generator(folder / "generator.safetensors", random_generator(8, 1));
  TranslateConfig config{.size = 30, .cut = {.weights = (folder / "generator.safetensors").string()}};
  EXPECT_ERROR(make_one(config), core::UsageError, "multiple of 4");
  config.size = 12;
  EXPECT_ERROR(make_one(config), core::UsageError, "at least 16");
}

}  // namespace
}  // namespace syncdr::translate
