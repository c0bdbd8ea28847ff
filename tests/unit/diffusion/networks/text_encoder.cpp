#include "syncdr/diffusion/text_encoder.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {
namespace {

class TextEncoderTest : public testing::Test {
 protected:
  TextEncoderTest() {
    std::filesystem::create_directory(folder_ / "text_encoder");
    test::put(folder_ / "model_index.json", R"({"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]})");
    write_config("");
    encoder_ = TextEncoder(read_text_encoder_config(folder_ / "text_encoder/config.json"));
    nn::initialise(*encoder_, "text_encoder", 1);
    encoder_->eval();
  }
  void write_config(const std::string& more) {
    test::put(folder_ / "text_encoder/config.json",
              R"({"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "vocab_size": 20, "hidden_size": 8,
      "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 6, "eos_token_id": 2)" +
                  more + "}");
  }
  void write_weights(bool with_positions) {
    io::NamedTensors weights = nn::state_of(*encoder_);
    if (with_positions) weights["text_model.embeddings.position_ids"] = at::arange(6).unsqueeze(0);
    io::write_safetensors(folder_ / "text_encoder/model.safetensors", weights);
  }

  TemporaryFolder folder_;
  TextEncoder encoder_{nullptr};
};

TEST_F(TextEncoderTest, LoadsWithAndWithoutTheBufferOfPositions) {
  for (const bool with_positions : {false, true}) {
    write_weights(with_positions);
    EXPECT_EQ(nn::state_hash(*load_text_encoder(CheckpointFolder(folder_.path()))), nn::state_hash(*encoder_));
  }
}

TEST_F(TextEncoderTest, LoadsTheLayoutWithoutPrefix) {
  io::NamedTensors weights;
  for (const auto& [name, tensor] : nn::state_of(*encoder_)) weights.emplace(name.substr(std::string("text_model.").size()), tensor);
  weights["embeddings.position_ids"] = at::arange(6).unsqueeze(0);
  io::write_safetensors(folder_ / "text_encoder/model.safetensors", weights);
  EXPECT_EQ(nn::state_hash(*load_text_encoder(CheckpointFolder(folder_.path()))), nn::state_hash(*encoder_));
}

TEST_F(TextEncoderTest, SeesNoLaterPositions) {
  const at::Tensor ids = at::arange(6).unsqueeze(0), all = encoder_->forward(ids);
  EXPECT_EQ(all.sizes(), (std::vector<int64_t>{1, 6, 8}));
  EXPECT_TRUE(at::allclose(encoder_->forward(ids.narrow(1, 0, 3)), all.narrow(1, 0, 3), 1e-5, 1e-6));
}

TEST_F(TextEncoderTest, AppendsRowsForPseudoWords) {
  const at::Tensor before = encoder_->token_table().detach().clone();
  EXPECT_EQ(encoder_->add_tokens(at::ones({8})), 20);
  EXPECT_EQ(encoder_->add_tokens(at::zeros({2, 8})), 21);
  EXPECT_TRUE(at::equal(encoder_->token_table().narrow(0, 0, 20), before));
  encoder_->forward(at::full({1, 1}, 22, at::kLong)).sum().backward();
  EXPECT_EQ(encoder_->token_table().grad().size(0), 23);
  EXPECT_ERROR(encoder_->add_tokens(at::ones({9})), core::UsageError, "a token's vector has 8 values");
}

TEST_F(TextEncoderTest, RefusesIdsAndLengthsThatItHasNoRowsFor) {
  EXPECT_ERROR(encoder_->forward(at::full({1, 2}, 20, at::kLong)), core::UsageError, "ids 0 to 19, got 20");
  EXPECT_ERROR(encoder_->forward(at::zeros({1, 7}, at::kLong)), core::UsageError, "L from 1 to 6");
}

TEST(WithWords, StandsThemInATokensPlaceAndShiftsTheRest) {
  const at::Tensor vectors = at::stack({at::arange(5), at::arange(5) + 10}).unsqueeze(2).to(at::kFloat);  // [2, 5, 1]: 0 to 4, 10 to 14
  const auto words = [](std::vector<float> first, std::vector<float> second) { return at::stack({at::tensor(first), at::tensor(second)}).unsqueeze(2); };
  const auto rows = [](const at::Tensor& result) {
    return std::vector<float>(result.const_data_ptr<float>(), result.const_data_ptr<float>() + result.numel());
  };
  EXPECT_EQ(rows(with_words(vectors, words({-1}, {-2}), {2, 0})), (std::vector<float>{0, 1, -1, 3, 4, -2, 11, 12, 13, 14}));
  EXPECT_EQ(rows(with_words(vectors, words({-1, -2, -3}, {-4, -5, -6}), {1, 2})), (std::vector<float>{0, -1, -2, -3, 2, 10, 11, -4, -5, -6}));
  EXPECT_EQ(rows(with_words(vectors, words({-1, -2, -3, -4, -5}, {-6, -7, -8, -9, -10}), {0, 0})),
            (std::vector<float>{-1, -2, -3, -4, -5, -6, -7, -8, -9, -10}));
  EXPECT_ERROR(with_words(vectors, words({-1, -2}, {-3, -4}), {1, 4}), core::UsageError, "2 words from position 4 of 5");
  EXPECT_ERROR(with_words(vectors, words({-1}, {-2}), {1}), core::UsageError, "1 places");
  EXPECT_ERROR(with_words(vectors, at::ones({2, 1, 3}), {1, 1}), core::UsageError, "[2, 1, 3]");
}

TEST(WithWords, GradientsReachThem) {
  const at::Tensor words = at::ones({1, 2, 3}).requires_grad_();
  with_words(at::zeros({1, 4, 3}), words, {1}).sum().backward();
  EXPECT_TRUE(at::equal(words.grad(), at::ones({1, 2, 3})));
}

TEST_F(TextEncoderTest, RefusesFieldsByName) {
  const std::pair<const char*, const char*> cases[] = {{R"(, "hidden_act": "swish")", "\"hidden_act\" is \"swish\""},
                                                       {R"(, "rotary": true)", "\"rotary\""},
                                                       {R"(, "pruned_heads": {"0": [1]})", "\"pruned_heads\""},
                                                       {R"(, "layer_norm_eps": "x")", "\"layer_norm_eps\" is \"x\", not a number"},
                                                       {R"(, "attention_dropout": 1.5)", "\"attention_dropout\" must lie"}};
  for (const auto& [more, message] : cases) {
    write_config(more);
    EXPECT_ERROR(read_text_encoder_config(folder_ / "text_encoder/config.json"), core::DataError, message);
  }
}

TEST_F(TextEncoderTest, NamesAWeightThatIsMissing) {
  io::NamedTensors weights = nn::state_of(*encoder_);
  weights.erase("text_model.final_layer_norm.bias");
  io::write_safetensors(folder_ / "text_encoder/model.safetensors", weights);
  EXPECT_ERROR(load_text_encoder(CheckpointFolder(folder_.path())), core::DataError, "text_model.final_layer_norm.bias");
}

}  // namespace
}  // namespace syncdr::diffusion
