#include "syncdr/diffusion/learned_tokens.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gmock/gmock.h>

#include <limits>

#include "diffusion/tiny_checkpoint.h"
#include "syncdr/core/error.h"
#include "syncdr/io/safetensors.h"

namespace syncdr::diffusion {
namespace {

class LearnedTokens : public testing::Test {
 protected:
  LearnedTokens() { TinyCheckpoint().put(folder_.path()); }
  std::filesystem::path file(const std::string& name, const io::NamedTensors& tensors) const {
    io::write_safetensors(folder_ / name, tensors);
    return folder_ / name;
  }
  CheckpointFolder checkpoint() const { return CheckpointFolder(folder_.path()); }

  TemporaryFolder folder_;
};

TEST_F(LearnedTokens, AreReadInTheOrderOfTheirNamesInFloat32) {
  const at::Tensor one = at::randn({6}), two = at::randn({2, 6});
  const auto tokens = read_learned_tokens(file("both.safetensors", {{"<two>", two.to(at::kBFloat16)}, {"<one>", one}}));
  ASSERT_EQ(tokens.size(), 2U);
  EXPECT_EQ(tokens[0].name, "<one>");
  EXPECT_TRUE(tokens[0].vectors.equal(one.view({1, 6})));
  EXPECT_EQ(tokens[1].name, "<two>");
  EXPECT_TRUE(tokens[1].vectors.equal(two.to(at::kBFloat16).to(at::kFloat)));
}

TEST_F(LearnedTokens, WithoutANameHaveTheFiles) {
  const auto tokens = read_learned_tokens(file("Water.v2.safetensors", {{"emb_params", at::ones({3, 6})}}));
  ASSERT_EQ(tokens.size(), 1U);
  EXPECT_EQ(tokens[0].name, "Water.v2");
  EXPECT_EQ(tokens[0].vectors.size(0), 3);
}

TEST_F(LearnedTokens, WhatIsWrittenIsRead) {
  const at::Tensor vectors = at::randn({3, 6});
  write_learned_token(folder_ / "written.safetensors", {"<w>", vectors});
  const auto tokens = read_learned_tokens(folder_ / "written.safetensors");
  ASSERT_EQ(tokens.size(), 1U);
  EXPECT_EQ(tokens[0].name, "<w>");
  EXPECT_TRUE(tokens[0].vectors.equal(vectors));
  EXPECT_EQ(io::read_safetensors(folder_ / "written.safetensors").metadata.at("format"), "pt");
}

TEST_F(LearnedTokens, AFileThatHoldsNoneIsRefused) {
  const auto refused = [&](const io::NamedTensors& tensors, const char* text) {
    EXPECT_ERROR(read_learned_tokens(file("wrong.safetensors", tensors)), core::DataError, text);
  };
  refused({}, "wrong.safetensors: holds no token");
  refused({{"", at::ones({6})}}, "wrong.safetensors: a token has no name");
  refused({{"<w>", at::ones({2, 3, 6})}}, "token \"<w>\": has shape [2, 3, 6]");
  refused({{"<w>", at::ones({0, 6})}}, "token \"<w>\": has shape [0, 6]");
  refused({{"<w>", at::ones({6}, at::kInt)}}, "token \"<w>\": holds Int");
  refused({{"<w>", at::full({6}, std::numeric_limits<float>::quiet_NaN())}}, "token \"<w>\": holds values that are not finite");
  refused({{"<w>", at::full({6}, 1e39, at::kDouble)}}, "token \"<w>\": holds values that are not finite");
  refused({{"clip_l", at::ones({1, 6})}, {"clip_g", at::ones({1, 8})}}, "Stable Diffusion XL");
  EXPECT_ERROR(read_learned_tokens(folder_ / "none.safetensors"), core::DataError, "none.safetensors");
  ::test::put(folder_ / "embeds.bin", std::string("PK\3\4") + std::string(300, '\0'));
  EXPECT_ERROR(read_learned_tokens(folder_ / "embeds.bin"), core::DataError, "syncdr-data convert");
}

TEST_F(LearnedTokens, TextsReadTheirVectorsInOrder) {
  Tokenizer tokenizer = load_tokenizer(checkpoint());
  TextEncoder encoder = load_text_encoder(checkpoint());
  const at::Tensor before = encoder->token_table().clone(), ink = at::randn({2, 6}), toy = at::randn({1, 6});
  add_learned_tokens(tokenizer, encoder, {file("ink.safetensors", {{"<ink>", ink}}), file("toy.safetensors", {{"<toy>", toy}})});
  EXPECT_EQ(tokenizer.size(), 9);
  EXPECT_EQ(encoder->config().vocabulary, 9);
  EXPECT_TRUE(encoder->token_table().equal(at::cat({before, ink, toy})));
  const at::Tensor ids = tokenizer.encode({"a <ink> <toy>"});
  EXPECT_THAT(std::vector<int64_t>(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + 6), testing::ElementsAre(4, 2, 6, 7, 8, 5));
}

TEST_F(LearnedTokens, TakeTheFirstRowsOfATableThatIsPadded) {
  Tokenizer tokenizer = load_tokenizer(checkpoint());
  TextEncoder encoder = load_text_encoder(checkpoint());
  encoder->add_tokens(at::ones({6}));
  const at::Tensor ink = at::randn({3, 6});
  add_learned_tokens(tokenizer, encoder, {file("ink.safetensors", {{"<ink>", ink}})});
  EXPECT_EQ(encoder->config().vocabulary, 9);
  EXPECT_TRUE(encoder->token_table().narrow(0, 6, 3).equal(ink));
}

TEST_F(LearnedTokens, ATokenThatDoesNotFitTheCheckpointIsRefusedWithoutItsNetworks) {
  std::filesystem::remove(folder_ / "text_encoder/model.safetensors");
  const auto refused = [&](const std::vector<std::filesystem::path>& files, const char* text) {
    EXPECT_ERROR(check_learned_tokens(checkpoint(), files), core::DataError, text);
  };
  const auto ink = file("ink.safetensors", {{"<ink>", at::ones({2, 6})}});
  check_learned_tokens(checkpoint(), {ink});
  refused({file("wide.safetensors", {{"<w>", at::ones({8})}})},
          "wide.safetensors: token \"<w>\": its vectors have 8 values, the checkpoint's text encoder reads 6");
  refused({file("there.safetensors", {{"a</w>", at::ones({6})}})}, "there.safetensors: token \"a</w>\": \"a</w>\" is a token already");
  refused({ink, file("again.safetensors", {{"<ink>", at::ones({6})}})}, "again.safetensors: token \"<ink>\": \"<ink>\" would stand for \"<ink>_1\", too");
  refused({ink, file("part.safetensors", {{"<ink>_1", at::ones({6})}})}, "\"<ink>_1\" is a token already");
}

}  // namespace
}  // namespace syncdr::diffusion
