#include "vit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::encoders {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// As wide as four heads of eight, images of 4 x 4 patches.
constexpr VitOptions tiny{.patch = 2, .width = 32, .depth = 2, .heads = 4};
constexpr int64_t side = 8;

std::shared_ptr<Vit> network(const VitOptions& options, int64_t size = side) {
  auto vit = std::make_shared<Vit>("vit_tiny", options, size);
  initialise(*vit, "", 1);
  return vit;
}

/// Copies of its tensors, each with values of its own.
io::NamedTensors file_of(const Vit& vit) {
  io::NamedTensors file;
  for (const auto& [name, tensor] : nn::state_of(vit)) file[name] = tensor.detach() + 0.01 * static_cast<double>(file.size() + 1);
  return file;
}

void move(io::NamedTensors& file, const std::string& from, const std::string& to) {
  ASSERT_TRUE(file.contains(from)) << from;
  file[to] = file.at(from);
  file.erase(from);
}

std::string refusal(Vit& vit, const io::NamedTensors& file) {
  try {
    load_backbone(vit, file, "a.safetensors");
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "accepted";
}

void expect_loaded(const Vit& vit, const io::NamedTensors& file) {
  for (const auto& [name, tensor] : nn::state_of(vit)) EXPECT_TRUE(tensor.equal(file.at(name))) << name;
}

TEST(Vit, GradientsReachEachParameter) {
  for (const VitOptions& options : {tiny, with_fc_norm(tiny), clip(tiny, VitOptions::quick_gelu, 6), dinov2(tiny), dinov2(tiny, 4),
                                    dinov3(tiny, VitOptions::no_keys), dinov3(gated(tiny)), siglip(tiny, VitOptions::tanh_gelu)}) {
    const auto vit = network(options);
    const at::Tensor features = vit->forward(at::randn({3, 3, side, side}));
    EXPECT_EQ(features.sizes(), at::IntArrayRef({3, vit->features()}));
    (features * at::randn_like(features)).sum().backward();
    for (const auto& item : vit->named_parameters()) {
      ASSERT_TRUE(item.value().grad().defined()) << item.key();
      EXPECT_GT(item.value().grad().norm().item<double>(), 0) << item.key();
    }
  }
}

TEST(Vit, ASizeThatPatchesDoNotFillIsRefusedWithTheNearestThatWork) {
  const BackboneRow& row = *find_backbone("vit_small_patch14_dinov2");
  EXPECT_THAT([&] { row.make(row, 230); }, testing::ThrowsMessage<core::UsageError>(AllOf(HasSubstr("vit_small_patch14_dinov2"), HasSubstr("224 and 238"))));
  EXPECT_THAT([&] { row.make(row, 9); }, testing::ThrowsMessage<core::UsageError>(HasSubstr("side that works is 14")));
}

TEST(Vit, TakesImagesOfItsSizeAlone) {
  const auto vit = network(tiny);
  EXPECT_TRUE(vit->takes(side));
  EXPECT_FALSE(vit->takes(2 * side));
  EXPECT_THAT([&] { vit->forward(at::zeros({1, 3, 2 * side, 2 * side})); }, testing::ThrowsMessage<core::UsageError>(HasSubstr("made for [B, 3, 8, 8]")));
}

TEST(VitNames, SeparateProjectionsBecomeOne) {
  const auto vit = network(tiny);
  const io::NamedTensors file = file_of(*vit);
  io::NamedTensors theirs = file;
  for (const std::string block : {"0", "1"}) {
    for (const std::string kind : {"weight", "bias"}) {
      const auto parts = file.at("blocks." + block + ".attn.qkv." + kind).chunk(3);
      const std::array<std::string, 3> layers{"query", "key", "value"};
      for (size_t k = 0; k < 3; ++k) theirs["vit.encoder.layer." + block + ".attention.attention." + layers[k] + '.' + kind] = parts[k];
      theirs.erase("blocks." + block + ".attn.qkv." + kind);
    }
  }
  load_backbone(*vit, theirs, "a.safetensors");
  expect_loaded(*vit, file);
}

TEST(VitNames, ProjectionsOfOtherShapesThanEachOtherAreRefused) {
  const auto vit = network(tiny);
  io::NamedTensors file = file_of(*vit);
  file["blocks.0.attn.q_proj.weight"] = file["blocks.0.attn.k_proj.weight"] = at::ones({32, 32});
  file["blocks.0.attn.v_proj.weight"] = at::ones({32, 16});
  EXPECT_THAT(refusal(*vit, file), HasSubstr("\"blocks.0.attn.q_proj.weight\" and those of keys and values have other shapes"));
}

TEST(VitNames, OpenClipsProjectionIsTransposedAndHasNoBias) {
  const auto vit = network(clip(tiny, VitOptions::quick_gelu, 6));
  io::NamedTensors file = file_of(*vit), theirs = file;
  theirs["visual.proj"] = file.at("head.weight").t();
  theirs.erase("head.weight");
  theirs.erase("head.bias");
  load_backbone(*vit, theirs, "a.safetensors");
  file["head.bias"] = at::zeros({6});
  expect_loaded(*vit, file);
}

TEST(VitNames, AClassifierAndAMaskTokenAreLeftOut) {
  const auto vit = network(tiny);
  io::NamedTensors file = file_of(*vit);
  file["head.weight"] = at::ones({1000, 32});
  file["head.bias"] = at::ones({1000});
  file["mask_token"] = at::ones({1, 32});
  load_backbone(*vit, file, "a.safetensors");
  expect_loaded(*vit, file);
}

TEST(VitNames, WhatIsLeftOverOrMissingIsNamed) {
  const auto vit = network(tiny);
  io::NamedTensors file = file_of(*vit);
  file["blocks.2.norm1.weight"] = at::ones({32});
  EXPECT_THAT(refusal(*vit, file), AllOf(HasSubstr("a.safetensors"), HasSubstr("\"blocks.2.norm1.weight\" not known")));
  file = file_of(*vit);
  file.erase("blocks.1.mlp.fc2.bias");
  EXPECT_THAT(refusal(*vit, file), HasSubstr("\"blocks.1.mlp.fc2.bias\" missing"));
  file = file_of(*vit);
  file["embeddings.cls_token"] = file.at("cls_token");
  EXPECT_THAT(refusal(*vit, file), HasSubstr("both \"cls_token\""));
}

TEST(VitNames, MeanPoolingIsARowOfItsOwn) {
  const auto plain = network(tiny), mean = network(with_fc_norm(tiny));
  EXPECT_THAT(refusal(*plain, file_of(*mean)), AllOf(HasSubstr("\"fc_norm\""), HasSubstr("vit_tiny")));
  EXPECT_THAT(refusal(*mean, file_of(*plain)), AllOf(HasSubstr("\"norm\""), HasSubstr("_fc_norm")));
}

TEST(VitNames, ClipWithoutItsProjectionIsARowOfItsOwn) {
  const auto projected = network(clip(tiny, VitOptions::gelu, 6)), bare = network(clip(tiny, VitOptions::gelu, 0));
  EXPECT_THAT(refusal(*projected, file_of(*bare)), HasSubstr("take vit_tiny_unprojected"));
}

TEST(VitNames, ZeroBiasesOfDinov3AreLeftOutAndOthersRefused) {
  const auto plain = network(dinov3(tiny)), biased = network(dinov3(tiny, VitOptions::no_keys));
  const io::NamedTensors file = file_of(*plain);
  io::NamedTensors theirs = file;
  for (const std::string block : {"0", "1"}) {
    const auto parts = file.at("blocks." + block + ".attn.qkv.weight").chunk(3);
    const std::string stem = "layer." + block + ".attention.";
    for (size_t k = 0; k < 3; ++k) theirs[stem + "qkv"[k] + "_proj.weight"] = parts[k];
    for (const char k : {'q', 'v'}) theirs[stem + k + "_proj.bias"] = at::zeros({32});
    theirs.erase("blocks." + block + ".attn.qkv.weight");
    move(theirs, "blocks." + block + ".gamma_1", "layer." + block + ".layer_scale1.lambda1");
  }
  load_backbone(*plain, theirs, "a.safetensors");
  expect_loaded(*plain, file);
  theirs["layer.1.attention.v_proj.bias"] = at::ones({32});
  EXPECT_THAT(refusal(*plain, theirs), HasSubstr("take vit_tiny_qkvb"));
  load_backbone(*biased, theirs, "a.safetensors");
  EXPECT_TRUE(nn::state_of(*biased).at("blocks.1.attn.v_bias").equal(at::ones({32})));
}

TEST(VitNames, AGateIsReadByTransformersNameAndOtherPerceptronsAreRefused) {
  const auto with_gate = network(dinov3(gated(tiny))), plain = network(dinov3(tiny));
  const io::NamedTensors file = file_of(*with_gate);
  io::NamedTensors theirs = file;
  for (const std::string kind : {"weight", "bias"}) {
    for (const std::string block : {"blocks.0.mlp.", "blocks.1.mlp."}) {
      move(theirs, block + "fc1_g." + kind, block + "gate_proj." + kind);
      move(theirs, block + "fc1_x." + kind, block + "up_proj." + kind);
      move(theirs, block + "fc2." + kind, block + "down_proj." + kind);
    }
  }
  load_backbone(*with_gate, theirs, "a.safetensors");
  expect_loaded(*with_gate, file);
  EXPECT_THAT(refusal(*plain, theirs), testing::AllOf(HasSubstr("\"blocks.0.mlp.fc1_g.bias\""), HasSubstr("not known")));
  EXPECT_THAT(refusal(*with_gate, file_of(*plain)), testing::AllOf(HasSubstr("\"blocks.0.mlp.fc1_g.bias\""), HasSubstr("missing")));
}

TEST(VitNames, PositionsAreResampledAndTheClassTokensStays) {
  const auto small = network(tiny), large = network(tiny, 2 * side);
  io::NamedTensors file = file_of(*small);
  file["pos_embed"].slice(1, 1) = at::arange(4).repeat_interleave(4).view({1, 16, 1});  // a ramp from the first row of patches to the last
  load_backbone(*large, file, "a.safetensors");
  const at::Tensor positions = nn::state_of(*large).at("pos_embed").detach();
  ASSERT_EQ(positions.sizes(), at::IntArrayRef({1, 65, 32}));
  EXPECT_TRUE(positions.select(1, 0).equal(file["pos_embed"].select(1, 0)));
  const at::Tensor grid = positions.slice(1, 1).view({8, 8, 32});
  EXPECT_TRUE(grid.allclose(grid.slice(1, 0, 1).expand({8, 8, 32}), 1e-5, 1e-5));  // columns are alike
  EXPECT_NEAR(grid[3][0][0].item<double>(), 1.25, 0.02);                           // centres of patches keep their places
  EXPECT_NEAR(grid[4][0][0].item<double>(), 1.75, 0.02);
}

TEST(VitNames, PositionsOfNoSquareAreRefused) {
  const auto vit = network(tiny);
  io::NamedTensors file = file_of(*vit);
  file["pos_embed"] = at::ones({1, 13, 32});
  EXPECT_THAT(refusal(*vit, file), HasSubstr("are not those of a square image"));
}

TEST(VitNames, RegistersTakeTheClassTokensPositionIntoTheToken) {
  const auto vit = network(dinov2(tiny, 4));
  io::NamedTensors file = file_of(*vit), theirs = file;
  theirs["pos_embed"] = at::cat({at::full({1, 1, 32}, 0.5), file.at("pos_embed")}, 1);
  move(theirs, "reg_token", "register_tokens");
  load_backbone(*vit, theirs, "a.safetensors");
  file["cls_token"] = file.at("cls_token") + 0.5;
  expect_loaded(*vit, file);
}

}  // namespace
}  // namespace syncdr::encoders
