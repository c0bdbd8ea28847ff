#include "syncdr/diffusion/word_mapper.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include "diffusion/tiny_elite.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

class WordMapperTest : public testing::Test {
 protected:
  WordMapperTest() { save_word_mapper(file_, TinyElite::make_mapper()); }
  WordMapper load() const {
    return load_word_mapper(file_, {.image_encoder = "vit", .image_width = 6, .image_layers = 16, .text_width = 6, .attentions = unet_->text_attentions()});
  }
  void expect_refused(const char* text) const { EXPECT_ERROR(load(), core::DataError, text); }
  /// Writes the file anew, changed.
  void put(const std::function<void(io::Safetensors&)>& change) const {
    save_word_mapper(file_, TinyElite::make_mapper());
    io::Safetensors content = io::read_safetensors(file_);
    change(content);
    io::write_safetensors(file_, content.tensors, content.metadata);
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "mapper.safetensors";
  UNet unet_ = TinyCheckpoint::make_unet();
};

TEST_F(WordMapperTest, ReadsWhatWasWritten) {
  EXPECT_EQ(nn::state_hash(*load()), nn::state_hash(*TinyElite::make_mapper()));
  put([](io::Safetensors& content) { content.metadata["syncdr.states"] = "-1 0 1 2 3"; });
  EXPECT_EQ(load()->config().states, (std::vector<int64_t>{-1, 0, 1, 2, 3}));
  put([](io::Safetensors& content) { content.metadata.clear(); });
  EXPECT_EQ(load()->config().states, (std::vector<int64_t>{-1, 4, 8, 12, 16})) << "as the published one";
}

TEST_F(WordMapperTest, MakesEachWordOfItsOwnHiddenState) {
  const torch::NoGradGuard no_grad;
  WordMapper mapper = load();
  std::vector<at::Tensor> states(17, at::ones({2, 5, 6}));
  const at::Tensor usual = mapper->forward(states);
  EXPECT_EQ(usual.sizes(), (std::vector<int64_t>{2, 5, 6}));
  const int64_t word_of[] = {0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4};  // the last is state 16 too
  for (size_t i = 0; i < states.size(); ++i) {
    auto others = states;
    others[i] = at::rand({2, 5, 6});
    const at::Tensor changed = (mapper->forward(others) != usual).any(2)[0];
    for (int64_t word = 0; word < 5; ++word)
      EXPECT_EQ(changed[word].item<bool>(), i == 16 ? word == 0 || word == 4 : word_of[i] > 0 && word == word_of[i]) << "state " << i << ", word " << word;
  }
  states.pop_back();
  EXPECT_ERROR(mapper->forward(states), core::UsageError, "needs hidden state 16");
}

TEST_F(WordMapperTest, ItsProjectionsTakeThePlaceOfTheNetworks) {
  const torch::NoGradGuard no_grad;
  const at::Tensor text = at::rand({2, 7, 6}), sample = at::rand({2, 4, 8, 8});
  WordMapper mapper = load();
  UNet replaced = TinyCheckpoint::make_unet();
  const io::NamedTensors of_mapper = nn::state_of(*mapper), of_network = nn::state_of(*replaced);
  const at::Tensor before = replaced->forward(sample, 500, text);
  int64_t count = 0;
  for (const auto& [name, weight] : of_network) {
    if (!name.ends_with(".attn2.to_k.weight") && !name.ends_with(".attn2.to_v.weight")) continue;
    std::string underscored = name.substr(0, name.size() - std::string(".weight").size());
    std::replace(underscored.begin(), underscored.end(), '.', '_');
    weight.copy_(of_mapper.at(underscored + ".weight"));
    ++count;
  }
  EXPECT_EQ(count, 2 * std::ssize(unet_->text_attentions()));
  const at::Tensor expected = replaced->forward(sample, 500, text), ours = unet_->forward(sample, 500, unet_->prepare(text, mapper->projections(at::kFloat)));
  EXPECT_TRUE(at::allclose(ours, expected, 1e-4, 1e-6));
  EXPECT_FALSE(at::allclose(ours, before, 1e-4, 1e-6));
  EXPECT_ERROR(unet_->prepare(text, {}), core::UsageError, "projections for 0");
}

TEST_F(WordMapperTest, NamesWhatDoesNotFit) {
  put([](io::Safetensors& content) { content.tensors.erase("mapping_0.0.weight"); });
  expect_refused("is no mapper of ELITE: it has no \"mapping_0.0.weight\"");
  put([](io::Safetensors& content) { content.tensors.erase("mapping_patch_4.6.bias"); });
  expect_refused("\"mapping_patch_4.6.bias\" missing");
  put([](io::Safetensors& content) { content.tensors["mapping_5.0.weight"] = at::ones({1}); });
  expect_refused("\"mapping_5.0.weight\" not known");
  put([](io::Safetensors& content) { content.tensors["down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.weight"] = at::ones({16, 6}); });
  expect_refused("has shape [16, 6], the model needs [8, 6]");
  put([](io::Safetensors& content) { content.metadata["syncdr.states"] = "-1 4 8 12"; });
  expect_refused("holds 4 numbers, not one for each of 5 words");
  put([](io::Safetensors& content) { content.metadata["syncdr.states"] = "-1 4 8 12 x"; });
  expect_refused("holds \"x\", not the number");
  put([](io::Safetensors& content) { content.metadata["syncdr.states"] = "-1 4 8 12 17"; });
  expect_refused("maps hidden state 17, the image encoder vit has 16 layers");
}

TEST_F(WordMapperTest, SelfAttentionThatReadsTheTextIsRefused) {
  UNetConfig config = unet_->config();
  config.only_cross_attention = {true, false};
  EXPECT_ERROR(cross_attentions(config), core::UsageError, "only_cross_attention");
  EXPECT_EQ(cross_attentions(unet_->config()).size(), unet_->text_attentions().size());
}

}  // namespace
}  // namespace syncdr::diffusion
