#include "syncdr/encoders/backbone.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::encoders {
namespace {

std::shared_ptr<Backbone> backbone_of(std::string_view name, int64_t size = 0) {
  const BackboneRow& row = *find_backbone(name);
  const auto backbone = row.make(row, size > 0 ? size : row.size);
  backbone->eval();
  return backbone;
}

/// Another network's weights than those of a new one.
io::NamedTensors file_of(const Backbone& backbone) {
  io::NamedTensors file;
  for (const auto& [name, tensor] : nn::state_of(backbone)) file[name] = tensor.is_floating_point() ? tensor.detach() + 0.125 : tensor.clone();
  return file;
}

io::NamedTensors with_prefix(const io::NamedTensors& file, const std::string& prefix) {
  io::NamedTensors all;
  for (const auto& [name, tensor] : file) all[prefix + name] = tensor;
  return all;
}

void expect_loaded(Backbone& backbone, const io::NamedTensors& tensors, const io::NamedTensors& file) {
  load_backbone(backbone, file, "weights.safetensors");
  for (const auto& [name, tensor] : nn::state_of(backbone)) EXPECT_TRUE(tensor.equal(tensors.at(name))) << name;
}

TEST(Backbones, LayersHoldEachParameterOnce) {
  for (const BackboneRow& row : backbones()) {
    const auto backbone = row.make(row, row.size);
    const auto layers = backbone->layers();
    for (const auto& item : backbone->named_parameters()) {
      size_t holders = 0;
      for (const auto& layer : layers) {
        for (const std::string& prefix : layer) holders += item.key().starts_with(prefix);
      }
      EXPECT_EQ(holders, 1U) << row.name << ": " << item.key();
    }
  }
}

TEST(Backbones, KeepTheirOwnNames) {
  for (const BackboneRow& row : backbones()) {
    const auto backbone = row.make(row, row.size);
    io::NamedTensors named;  // no name depends on what a tensor holds
    for (const auto& [name, tensor] : nn::state_of(*backbone)) named[name] = tensor;
    for (const auto& [name, tensor] : backbone->own_names(named, "file")) named.erase(name);
    EXPECT_TRUE(named.empty()) << row.name << ": " << named.begin()->first;
  }
}

TEST(Backbones, AreFoundByNameAlone) {
  EXPECT_EQ(find_backbone("resnet50")->size, 224);
  EXPECT_EQ(find_backbone("resnet5"), nullptr);
  EXPECT_EQ(backbone_names().size(), backbones().size());
}

TEST(Backbones, TakeImagesOfTheirSizeAndGiveTheirFeatures) {
  const at::NoGradGuard no_gradient;
  for (const auto& [name, features] : {std::pair{"resnet34", 512}, {"resnet50_clip", 1024}, {"tf_efficientnet_lite0", 1280}, {"small", 256}}) {
    const auto backbone = backbone_of(name, 64);
    EXPECT_EQ(backbone->features(), features);
    EXPECT_TRUE(backbone->takes(64));
    const at::Tensor out = backbone->forward(at::randn({2, 3, 64, 64}));
    EXPECT_EQ(out.sizes(), at::IntArrayRef({2, features})) << name;
    EXPECT_TRUE(out.isfinite().all().item<bool>()) << name;
  }
}

TEST(ClipResNet, TakesImagesOfItsNumberOfPlacesOnly) {
  const at::NoGradGuard no_gradient;
  const auto backbone = backbone_of("resnet50_clip", 96);
  for (const int64_t side : {95, 96, 97, 126}) {
    ASSERT_TRUE(backbone->takes(side)) << side;
    EXPECT_EQ(backbone->forward(at::randn({1, 3, side, side})).size(1), 1024) << side;
  }
  for (const int64_t side : {94, 127, 224}) EXPECT_FALSE(backbone->takes(side)) << side;
  EXPECT_ERROR(backbone_of("resnet50_clip", 16), core::UsageError, "16 pixels are too few");
}

struct OneOfEach : Backbone {
  OneOfEach() {
    register_parameter("convolution", at::ones({64, 32, 3, 3}));
    register_parameter("depthwise", at::ones({512, 1, 3, 3}));
    register_parameter("positions", at::ones({1, 50, 64}));
    register_parameter("bias", at::ones({64}));
    register_parameter("scale", at::ones({64}));
  }
  at::Tensor forward(const at::Tensor& images) override { return images; }
  int64_t features() const override { return 0; }
  std::vector<std::vector<std::string>> layers() const override { return {}; }
  io::NamedTensors own_names(io::NamedTensors file, const std::string& /*where*/) const override { return file; }
};

TEST(Initialise, DrawsFromSeedAndNameWithHesVarianceByFanOut) {
  OneOfEach first, again, other;
  initialise(first, "backbone.", 1);
  initialise(again, "backbone.", 1);
  initialise(other, "other.", 1);
  EXPECT_EQ(nn::state_hash(first), nn::state_hash(again));
  EXPECT_NE(nn::state_hash(first), nn::state_hash(other));
  const io::NamedTensors state = nn::state_of(first);
  const auto deviation = [&](const std::string& name) { return state.at(name).std().item<double>(); };
  EXPECT_NEAR(deviation("convolution"), std::sqrt(2.0 / (64 * 9)), 2e-3);
  EXPECT_NEAR(deviation("depthwise"), std::sqrt(2.0 / 9), 2e-2);  // an output sees one input
  EXPECT_NEAR(deviation("positions"), 0.02, 1e-3);
  EXPECT_EQ(state.at("bias").abs().max().item<double>(), 0);
  EXPECT_EQ(state.at("scale").min().item<double>(), 1);
}

TEST(LoadBackbone, TakesOffTheWrappersPrefixes) {
  const auto backbone = backbone_of("small");
  const io::NamedTensors file = file_of(*backbone);
  for (const char* prefix : {"module.", "model.", "backbone.", "module.backbone.", "model.module.", "visual.", "module.visual.trunk.", "resnet."})
    expect_loaded(*backbone, file, with_prefix(file, prefix));
}

TEST(LoadBackbone, DropsTheTextSideBesideAnImageSideOnly) {
  const auto backbone = backbone_of("small");
  const io::NamedTensors file = file_of(*backbone);
  io::NamedTensors both = with_prefix(file, "visual.");
  for (const char* name : {"transformer.resblocks.0.ln_1.weight", "token_embedding.weight", "positional_embedding", "text_projection", "logit_scale"})
    both[name] = at::ones({2});
  expect_loaded(*backbone, file, both);
  expect_loaded(*backbone, file, with_prefix(both, "module."));
  io::NamedTensors alone = file;
  alone["logit_scale"] = at::ones({});
  EXPECT_ERROR(load_backbone(*backbone, alone, "weights.safetensors"), core::DataError, "weights.safetensors: \"logit_scale\" not known");
  both["visual.positional_embedding"] = at::ones({2});
  EXPECT_ERROR(load_backbone(*backbone, both, "weights.safetensors"), core::DataError, "\"positional_embedding\" not known");
}

TEST(LoadBackbone, DropsTheClassifierByName) {
  const auto backbone = backbone_of("small");
  const io::NamedTensors file = file_of(*backbone);
  for (const auto& [weight, bias] : {std::pair{"fc.weight", "fc.bias"}, {"classifier.1.weight", "classifier.1.bias"}}) {
    io::NamedTensors with = file;
    with[weight] = at::ones({10, 256});
    with[bias] = at::ones({10});
    expect_loaded(*backbone, file, with);
  }
}

TEST(LoadBackbone, NamesWhatIsMissingLeftOverOrThereTwice) {
  const auto backbone = backbone_of("small");
  const io::NamedTensors file = file_of(*backbone);
  const std::string before = nn::state_hash(*backbone);
  const auto expect = [&](auto&& change, const std::string& message) {
    io::NamedTensors changed = file;
    change(changed);
    EXPECT_ERROR(load_backbone(*backbone, changed, "weights.safetensors"), core::DataError, message);
  };
  expect([](auto& tensors) { tensors.erase("layer3.0.bn2.running_mean"); }, "weights.safetensors: \"layer3.0.bn2.running_mean\" missing");
  expect([](auto& tensors) { tensors["fc2.weight"] = at::ones({2}); }, "weights.safetensors: \"fc2.weight\" not known");
  expect([](auto& tensors) { tensors["conv1.weight"] = at::ones({32, 4, 5, 5}); }, "\"conv1.weight\" has shape [32, 4, 5, 5]");
  expect([](auto& tensors) { tensors["module.bn1.weight"] = at::ones({32}); }, "\"module.bn1.weight\"");
  EXPECT_EQ(nn::state_hash(*backbone), before);
}

TEST(LoadBackbone, NeedsNoCountersOfBatches) {
  const auto backbone = backbone_of("small");
  io::NamedTensors file = file_of(*backbone);
  const io::NamedTensors all = file;
  std::erase_if(file, [](const auto& entry) { return entry.first.ends_with("num_batches_tracked"); });
  expect_loaded(*backbone, all, file);
}

TEST(LoadBackbone, ResamplesPositionsOfASquareOnly) {
  const auto backbone = backbone_of("resnet50_clip", 64);
  io::NamedTensors file = file_of(*backbone_of("resnet50_clip", 96));
  const at::Tensor positions = at::arange(10, at::kFloat).unsqueeze(1).expand({10, 2048}).contiguous();
  file["attnpool.positional_embedding"] = positions;
  load_backbone(*backbone, file, "weights.safetensors");
  const at::Tensor resampled = nn::state_of(*backbone).at("attnpool.positional_embedding").detach();
  EXPECT_EQ(resampled[0][0].item<double>(), 0);  // the mean's stays
  EXPECT_NEAR(resampled.slice(0, 1).mean().item<double>(), 5, 1e-4);
  EXPECT_LT(resampled[1][7].item<double>(), resampled[4][7].item<double>());
  file["attnpool.positional_embedding"] = positions.slice(0, 0, 8);
  EXPECT_ERROR(load_backbone(*backbone, file, "weights.safetensors"), core::DataError, "position embeddings, 7 in number");
}

}  // namespace
}  // namespace syncdr::encoders
