#include "syncdr/search/text_tower.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/safetensors.h"

namespace syncdr::search {
namespace {

/// A text side of open_clip's: 514 tokens, texts of 12, 64 wide, one layer, 5 features; and something of an image side.
io::NamedTensors open_clip() {
  torch::manual_seed(3);
  const auto random = [](at::IntArrayRef shape) { return torch::randn(shape) * 0.3; };
  return {{"token_embedding.weight", random({514, 64})},
          {"positional_embedding", random({12, 64})},
          {"text_projection", random({64, 5})},
          {"ln_final.weight", random({64}) + 1},
          {"ln_final.bias", random({64})},
          {"transformer.resblocks.0.ln_1.weight", random({64}) + 1},
          {"transformer.resblocks.0.ln_1.bias", random({64})},
          {"transformer.resblocks.0.ln_2.weight", random({64}) + 1},
          {"transformer.resblocks.0.ln_2.bias", random({64})},
          {"transformer.resblocks.0.attn.in_proj_weight", random({192, 64})},
          {"transformer.resblocks.0.attn.in_proj_bias", random({192})},
          {"transformer.resblocks.0.attn.out_proj.weight", random({64, 64})},
          {"transformer.resblocks.0.attn.out_proj.bias", random({64})},
          {"transformer.resblocks.0.mlp.c_fc.weight", random({128, 64})},
          {"transformer.resblocks.0.mlp.c_fc.bias", random({128})},
          {"transformer.resblocks.0.mlp.c_proj.weight", random({64, 128})},
          {"transformer.resblocks.0.mlp.c_proj.bias", random({64})},
          {"logit_scale", torch::tensor(1.0F)},
          {"visual.conv1.weight", random({4, 3, 2, 2})}};
}

class TextTowers : public testing::Test {
 protected:
  TextTowers() { diffusion::save_byte_tokenizer(folder_.path(), 12); }
  TextTower tower(const io::NamedTensors& tensors, const std::string& encoder = "vit_base_patch32_clip_224") {
    io::write_safetensors(folder_ / "clip.safetensors", tensors);
    return {folder_ / "clip.safetensors", folder_.path(), encoder};
  }
  TemporaryFolder folder_;
};

TEST_F(TextTowers, FeaturesAreUnitRowsWhateverStandsBesideATextAndHoweverItIsPadded) {
  TextTower text = tower(open_clip());
  EXPECT_EQ(text.dim(), 5);
  const at::Tensor both = text.features({"a", "a dog"});
  EXPECT_TRUE(torch::allclose(both.norm(2, 1), torch::ones(2)));
  EXPECT_TRUE(torch::allclose(text.features({"a dog"})[0], both[1], 1e-5, 1e-6));
  EXPECT_FALSE(torch::allclose(both[0], both[1], 1e-3, 1e-3));
}

TEST_F(TextTowers, PrefixesOfWrappersChangeNothing) {
  const at::Tensor expected = tower(open_clip()).features({"ink"});
  io::NamedTensors wrapped;
  for (const auto& [name, tensor] : open_clip()) wrapped.emplace("module." + std::string(name.starts_with("visual.") ? "" : "text.") + name, tensor);
  EXPECT_TRUE(torch::equal(tower(wrapped).features({"ink"}), expected));
}

TEST_F(TextTowers, TheActivationIsTheEncodersUnlessAFileBesideSaysAnother) {
  const at::Tensor exact = tower(open_clip()).features({"ink"}), quick = tower(open_clip(), "vit_base_patch32_clip_quickgelu_224").features({"ink"});
  EXPECT_FALSE(torch::equal(exact, quick));
  test::put(folder_ / "open_clip_config.json", R"({"model_cfg": {"quick_gelu": true, "text_cfg": {"heads": 1}}})");
  EXPECT_TRUE(torch::equal(tower(open_clip()).features({"ink"}), quick));
  test::put(folder_ / "open_clip_config.json", R"({"model_cfg": {"text_cfg": {"heads": 2}}})");
  EXPECT_FALSE(torch::equal(tower(open_clip()).features({"ink"}), exact)) << "other heads";
  test::put(folder_ / "open_clip_config.json", R"({"model_cfg": {"text_cfg": {"heads": 3}}})");
  EXPECT_ERROR(tower(open_clip()), core::DataError, "3 heads");
}

TEST_F(TextTowers, FilesWithoutOneOrOfAnotherFamilyAreRefused) {
  EXPECT_ERROR(tower({{"visual.conv1.weight", torch::ones({4, 3, 2, 2})}}), core::DataError, "has no text side");
  auto tensors = open_clip();
  tensors.erase("text_projection");
  EXPECT_ERROR(tower(tensors), core::DataError, "none of CLIP's");
  tensors = open_clip();
  tensors.erase("ln_final.bias");
  EXPECT_ERROR(tower(tensors), core::DataError, "final_layer_norm.bias");
  tensors = open_clip();
  tensors["text_projection"] = torch::ones({32, 5});
  EXPECT_ERROR(tower(tensors), core::DataError, "does not fit its width");
}

TEST_F(TextTowers, VocabulariesThatLackOrDoNotFitAreRefused) {
  io::write_safetensors(folder_ / "clip.safetensors", open_clip());
  EXPECT_ERROR(TextTower(folder_ / "clip.safetensors", folder_ / "none", "vit_base_patch32_clip_224"), core::DataError, "--tokenizer");
  diffusion::save_byte_tokenizer(folder_ / "longer", 20);
  EXPECT_ERROR(TextTower(folder_ / "clip.safetensors", folder_ / "longer", "vit_base_patch32_clip_224"), core::DataError, "another model's vocabulary");
  TextTower text = tower(open_clip());
  EXPECT_ERROR(text.features({"  "}), core::DataError, "is empty");
}

}  // namespace
}  // namespace syncdr::search
