#include "syncdr/retrieval/encoder.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::retrieval {
namespace {

EncoderConfig small(int64_t dim = 32) { return {.name = "small", .dim = dim}; }

const encoders::Normalisation imagenet = encoders::find_backbone("resnet50")->normalisation;

at::Tensor pictures(int64_t count, int64_t side) { return normalise_images(at::randint(0, 256, {count, 3, side, side}, at::kByte), imagenet, at::kCPU); }

io::NamedTensors copies(const torch::nn::Module& module) {
  io::NamedTensors all;
  for (const auto& [name, tensor] : nn::state_of(module)) all[name] = tensor.detach().clone();
  return all;
}

/// A backbone's file as torchvision saves it: no prefix, a classifier at the end.
io::NamedTensors classifier_file(const Encoder& encoder) {
  io::NamedTensors all;
  for (const auto& [name, tensor] : copies(*encoder)) {
    if (name.starts_with("backbone.")) all[name.substr(9)] = tensor.is_floating_point() ? tensor + 0.125 : tensor;
  }
  all["fc.weight"] = at::ones({1000, 256});
  all["fc.bias"] = at::ones({1000});
  return all;
}

TEST(Encoder, HasTheParametersOfItsArchitecture) {
  // torchvision's count less its classifier (512 x 1000 + 1000), plus our head. ResNet-50 is compared tensor by tensor in the parity test.
  EXPECT_EQ(nn::parameter_count(*make_encoder({.name = "resnet18", .dim = 128}, 0)), 11'689'512 - 513'000 + 512 * 128 + 128);
  EXPECT_NEAR(static_cast<double>(nn::parameter_count(*make_encoder(small(512), 0))), 1.3e6, 1e5);
}

TEST(Encoder, GivesUnitRowsOfAnyPictureSize) {
  const at::NoGradGuard no_gradient;
  Encoder encoder = make_encoder(small(), 1);
  for (const int64_t side : {32, 64, 75}) {
    const at::Tensor features = encoder->forward(pictures(3, side));
    EXPECT_EQ(features.sizes(), at::IntArrayRef({3, 32}));
    EXPECT_TRUE(features.norm(2, 1).allclose(at::ones({3})));
  }
}

TEST(Encoder, InitialWeightsDependOnTheSeedAlone) {
  const io::NamedTensors first = copies(*make_encoder(small(), 7)), again = copies(*make_encoder(small(), 7)), other = copies(*make_encoder(small(), 8));
  for (const auto& [name, tensor] : first) EXPECT_TRUE(tensor.equal(again.at(name))) << name;
  EXPECT_FALSE(first.at("head.weight").equal(other.at("head.weight")));
  EXPECT_FALSE(first.at("backbone.conv1.weight").equal(other.at("backbone.conv1.weight")));
}

TEST(Encoder, AHeadThatBeginsAsTheIdentityChangesNothing) {
  const at::NoGradGuard no_gradient;
  const EncoderConfig config{.name = "small", .dim = 256, .head = "identity"};
  Encoder encoder = make_encoder(config, 1), without = untrained_encoder(config, 1);
  const at::Tensor images = pictures(3, 32);
  encoder->eval();
  without->eval();
  EXPECT_TRUE(encoder->forward(images).allclose(without->forward(images)));
  EXPECT_ERROR(check_sizes({.name = "small", .dim = 255, .head = "identity"}, 32), core::UsageError, "Set train.encoder.dim = 256");
}

TEST(Encoder, ConvolutionsBeginWithHesVarianceByFanOut) {
  const io::NamedTensors state = copies(*make_encoder(small(), 7));
  EXPECT_NEAR(state.at("backbone.layer4.0.conv2.weight").std().item<double>(), std::sqrt(2.0 / (256 * 9)), 2e-4);
  EXPECT_NEAR(state.at("head.weight").abs().max().item<double>(), 1.0 / 16, 1e-3);
}

TEST(Encoder, AWholeEncoderIsSavedAndLoadedExactly) {
  const TemporaryFolder folder;
  EncoderConfig config = small(16);
  config.feature_norm = true;
  Encoder encoder = make_encoder(config, 3);
  encoder->train();
  encoder->forward(pictures(8, 32));  // moves the running statistics
  encoder->eval();
  config.weights = "where/it/began.safetensors";
  save_encoder(folder / "encoder.safetensors", nn::state_of(*encoder), config);
  EncoderConfig read;
  Encoder loaded = load_encoder(folder / "encoder.safetensors", &read);
  const at::Tensor images = pictures(4, 32);
  const at::NoGradGuard no_gradient;
  EXPECT_TRUE(loaded->forward(images).equal(encoder->forward(images)));
  EXPECT_EQ(read.dim, 16);
  EXPECT_TRUE(read.feature_norm);
  EXPECT_EQ(read.weights, "");
  EXPECT_FALSE(loaded->is_training());
}

TEST(Encoder, AWholeEncoderServesAsInitialWeights) {
  const TemporaryFolder folder;
  EncoderConfig config = small();
  const Encoder trained = make_encoder(config, 3);
  save_encoder(folder / "encoder.safetensors", nn::state_of(*trained), config);
  config.weights = folder / "encoder.safetensors";
  EXPECT_EQ(nn::state_hash(*make_encoder(config, 4)), nn::state_hash(*trained));
}

TEST(Encoder, ABackbonesFileIsLoadedWithoutItsClassifierAndTheHeadIsNew) {
  const TemporaryFolder folder;
  EncoderConfig config = small();
  const Encoder fresh = make_encoder(config, 5);
  const io::NamedTensors file = classifier_file(fresh);
  io::write_safetensors(folder / "backbone.safetensors", file);
  config.weights = folder / "backbone.safetensors";
  const io::NamedTensors loaded = copies(*make_encoder(config, 5));
  EXPECT_TRUE(loaded.at("backbone.layer2.0.conv1.weight").equal(file.at("layer2.0.conv1.weight")));
  EXPECT_TRUE(loaded.at("backbone.bn1.running_var").equal(file.at("bn1.running_var")));
  EXPECT_TRUE(loaded.at("head.weight").equal(copies(*fresh).at("head.weight")));
}

TEST(Encoder, ABackbonesFileOfBeforeBatchCountersIsLoaded) {
  const TemporaryFolder folder;
  EncoderConfig config = small();
  io::NamedTensors file = classifier_file(make_encoder(config, 5));
  std::erase_if(file, [](const auto& entry) { return entry.first.ends_with("num_batches_tracked"); });
  io::write_safetensors(folder / "backbone.safetensors", file);
  config.weights = folder / "backbone.safetensors";
  EXPECT_TRUE(copies(*make_encoder(config, 5)).at("backbone.conv1.weight").equal(file.at("conv1.weight")));
}

TEST(Encoder, OtherWeightsAreRefusedByName) {
  const TemporaryFolder folder;
  EncoderConfig config = small();
  config.weights = folder / "backbone.safetensors";
  const io::NamedTensors file = classifier_file(make_encoder(small(), 5));
  const auto with = [&](auto&& change) {
    io::NamedTensors changed = file;
    change(changed);
    io::write_safetensors(config.weights, changed);
  };
  with([](io::NamedTensors& tensors) { tensors["fc2.weight"] = at::ones({2}); });
  EXPECT_ERROR(make_encoder(config, 0), core::DataError, "fc2.weight");
  with([](io::NamedTensors& tensors) { tensors.erase("layer3.0.bn2.running_mean"); });
  EXPECT_ERROR(make_encoder(config, 0), core::DataError, "layer3.0.bn2.running_mean");
  with([](io::NamedTensors& tensors) { tensors["conv1.weight"] = at::ones({32, 4, 5, 5}); });
  EXPECT_ERROR(make_encoder(config, 0), core::DataError, "conv1.weight");
  with([](io::NamedTensors&) {});
  EXPECT_ERROR(load_encoder(config.weights), core::DataError, "no trained encoder");
}

TEST(Encoder, ABackbonesFileMayHaveItsPrefixAndNoHead) {
  const TemporaryFolder folder;
  EncoderConfig config = small();
  io::NamedTensors file = copies(*make_encoder(config, 5));
  std::erase_if(file, [](const auto& entry) { return !entry.first.starts_with("backbone."); });
  io::write_safetensors(folder / "backbone.safetensors", file);
  config.weights = folder / "backbone.safetensors";
  const io::NamedTensors loaded = copies(*make_encoder(config, 6));
  EXPECT_TRUE(loaded.at("backbone.conv1.weight").equal(file.at("backbone.conv1.weight")));
  EXPECT_TRUE(loaded.at("head.weight").equal(copies(*make_encoder(small(), 6)).at("head.weight")));
}

TEST(Encoder, SaysWhereTheSideOfImagesDoesNotSuitItsBackbone) {
  EncoderConfig config{.name = "resnet50_clip", .dim = 8};
  EXPECT_EQ(check_sizes(config, 224), "");
  EXPECT_ERROR(check_sizes(config, 96), core::UsageError, "train.augment.crop = 96: resnet50_clip takes images of 224 pixels");
  config.size = 96;
  EXPECT_EQ(check_sizes(config, 96), "");
  config.weights = "not/looked/at.safetensors";
  EXPECT_EQ(check_sizes(config, 96), "train.augment.crop = 96: the weights of resnet50_clip were trained with images of 224 pixels");
  config.weights.clear();
  const at::NoGradGuard no_gradient;
  Encoder encoder = make_encoder(config, 1);
  encoder->eval();
  EXPECT_EQ(encoder->forward(pictures(1, 96)).size(1), 8);
  EXPECT_ERROR(encoder->forward(pictures(1, 64)), core::UsageError, "64 x 64 pixels");
}

TEST(Encoder, ItsNormalisationComesWithItsName) {
  EXPECT_EQ(make_encoder({.name = "tf_efficientnet_lite0", .dim = 8}, 1)->normalisation().mean[0], 127.0 / 255);
  EXPECT_EQ(make_encoder(small(), 1)->normalisation().mean[0], 0.485);
}

TEST(Encoder, FrozenBatchNormKeepsTheBackbonesStatisticsButNotTheNewFeatureNorms) {
  EncoderConfig config = small();
  config.batch_norm = "frozen";
  config.feature_norm = true;
  Encoder encoder = make_encoder(config, 3);
  const io::NamedTensors before = copies(*encoder);
  encoder->train();
  encoder->forward(pictures(8, 32)).sum().backward();
  const io::NamedTensors after = copies(*encoder);
  EXPECT_TRUE(after.at("backbone.layer1.0.bn1.running_mean").equal(before.at("backbone.layer1.0.bn1.running_mean")));
  EXPECT_FALSE(after.at("feature_norm.running_mean").equal(before.at("feature_norm.running_mean")));
}

TEST(Encoder, FeatureNormCentresAndScalesEachFeature) {
  EncoderConfig config = small();
  config.feature_norm = true;
  Encoder encoder = make_encoder(config, 3);
  encoder->train();
  // Random networks map all pictures to nearly one direction; the norm spreads them.
  const at::Tensor features = encoder->forward(pictures(64, 32)).detach();
  EXPECT_LT(features.mean(0).abs().max().item<double>(), 0.05);
}

TEST(NormaliseImages, UsesTheBackbonesConstantsAndKeepsChannelsLast) {
  const at::Tensor bytes = at::full({2, 3, 4, 4}, 255, at::kByte).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor images = normalise_images(bytes, imagenet, at::kCPU);
  EXPECT_NEAR(images[1][0][2][3].item<double>(), (1 - 0.485) / 0.229, 1e-5);
  EXPECT_NEAR(images[1][1][2][3].item<double>(), (1 - 0.456) / 0.224, 1e-5);
  EXPECT_NEAR(images[1][2][2][3].item<double>(), (1 - 0.406) / 0.225, 1e-5);
  EXPECT_TRUE(images.is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(UntrainedEncoder, GivesTheBackbonesPooledFeaturesAtUnitLength) {
  const at::NoGradGuard no_gradient;
  const TemporaryFolder folder;
  const auto file = folder.path() / "backbone.safetensors";
  Encoder source = make_encoder(small(), 3);
  io::write_safetensors(file, classifier_file(source));
  Encoder untrained = untrained_encoder({.name = "small", .weights = file.string(), .feature_norm = true}, 9),
          whole = make_encoder({.name = "small", .weights = file.string()}, 9);
  untrained->eval();
  whole->eval();
  const at::Tensor images = pictures(4, 32), features = untrained->forward(images), pooled = whole->backbone().forward(images);
  EXPECT_EQ(features.sizes(), at::IntArrayRef({4, 256}));
  EXPECT_TRUE(features.allclose(pooled / pooled.norm(2, 1, true)));
}

TEST(UntrainedEncoder, KeepsTheHeadOfAWholeEncoder) {
  const at::NoGradGuard no_gradient;
  const TemporaryFolder folder;
  const auto file = folder.path() / "whole.safetensors";
  Encoder source = make_encoder(small(), 3);
  save_encoder(file, nn::state_of(*source), small());
  Encoder untrained = untrained_encoder({.name = "small", .dim = 32, .weights = file.string()}, 9);
  source->eval();
  untrained->eval();
  const at::Tensor images = pictures(4, 32);
  EXPECT_TRUE(untrained->forward(images).equal(source->forward(images)));
}

}  // namespace
}  // namespace syncdr::retrieval
