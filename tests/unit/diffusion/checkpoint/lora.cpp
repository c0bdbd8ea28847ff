#include "syncdr/diffusion/lora.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include "checkpoint/lora_names.h"
#include "diffusion/tiny_checkpoint.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/pipeline.h"

namespace syncdr::diffusion::lora_tests {
namespace {

const std::string attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1", query = attention + ".to_q", clip = "encoder.layers.0.";

/// A checkpoint, and files beside it.
class LoraFiles : public testing::Test {
 protected:
  LoraFiles() {
    std::filesystem::create_directory(root());
    TinyCheckpoint().put(root());
  }
  std::filesystem::path root() const { return folder_ / "model"; }
  CheckpointFolder checkpoint() const { return CheckpointFolder(root()); }
  static io::NamedTensors unet() { return nn::state_of(*TinyCheckpoint::make_unet()); }

  std::filesystem::path put(const io::NamedTensors& tensors, const std::map<std::string, std::string>& metadata = {},
                            const std::string& name = "a.safetensors") {
    io::write_safetensors(folder_ / name, tensors, metadata);
    return folder_ / name;
  }
  /// Of one file, which must add to one weight of the UNet.
  LowRank only(const std::filesystem::path& file) const {
    const LoraSums sums = read_lora({{file}}, checkpoint());
    EXPECT_EQ(sums.unet.size(), 1U);
    EXPECT_TRUE(sums.text_encoder.empty());
    return sums.unet.begin()->second.at(0);
  }
  double factor(const io::NamedTensors& tensors, const std::map<std::string, std::string>& metadata = {}) { return only(put(tensors, metadata)).factor; }

  /// Refused when it is read; when its header is checked too, unless the values are to blame.
  void refused(const std::filesystem::path& file, const std::string& message, bool by_header = true) {
    EXPECT_ERROR(read_lora({{file}}, checkpoint()), core::DataError, message);
    const CheckpointFolder known = checkpoint();
    if (by_header) {
      EXPECT_ERROR(check_lora({{file}}, &known), core::DataError, message);
    } else {
      check_lora({{file}}, &known);
    }
  }

  TemporaryFolder folder_;
};

/// A pair of a query's projection, [8, 8], with ends of names as peft has them.
io::NamedTensors pair_of(const std::string& layer, int64_t rank = 2, int64_t in = 8, int64_t out = 8) {
  return {{layer + ".lora_A.weight", at::randn({rank, in})}, {layer + ".lora_B.weight", at::randn({out, rank})}};
}

TEST(LoraNames, AreTakenApart) {
  const auto expect_name = [](const std::string& tensor, const char* layer, LoraPart part) {
    const auto name = lora_name(tensor);
    ASSERT_TRUE(name) << tensor;
    EXPECT_EQ(name->layer, layer);
    EXPECT_EQ(name->part, part) << tensor;
  };
  expect_name("base_model.model.conv_in.lora_A.weight", "base_model.model.conv_in", LoraPart::down);
  expect_name("base_model.model.conv_in.lora_B.default.weight", "base_model.model.conv_in", LoraPart::up);
  expect_name("unet.conv_in.lora.down.weight", "unet.conv_in", LoraPart::down);
  expect_name("unet.x.attn1.processor.to_out_lora.up.weight", "unet.x.attn1.processor.to_out", LoraPart::up);
  expect_name("text_encoder.x.q_proj.lora_linear_layer.down.weight", "text_encoder.x.q_proj", LoraPart::down);
  expect_name("lora_unet_conv_in.lora_up.weight", "lora_unet_conv_in", LoraPart::up);
  expect_name("lora_unet_conv_in.alpha", "lora_unet_conv_in", LoraPart::alpha);
  for (const char* other : {"x.lora_B.bias", "x.lora_embedding_A", "x.weight", "lora_A.weight", "weight", "", "x.hada_w1_a", "x.lora_magnitude_vector.weight",
                            "x.diff", "x.lora_mid.weight", "x.lora_A.a.b.weight"})
    EXPECT_FALSE(lora_name(other)) << other;
}

TEST_F(LoraFiles, EveryNamingMeansTheSameLayer) {
  const LoraTargets targets(read_unet_config(checkpoint()), read_text_encoder_config(root() / "text_encoder/config.json"));
  const auto expect_layer = [&](const std::string& layer, bool of_text, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const auto* found = targets.find(name);
      ASSERT_NE(found, nullptr) << name;
      EXPECT_EQ(found->layer, layer) << name;
      EXPECT_EQ(found->of_text, of_text) << name;
    }
  };
  const std::string in_kohya = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_";
  expect_layer(query, false,
               {"base_model.model." + query, "unet." + query, query, "unet." + attention + ".processor.to_q", attention + ".processor.to_q",
                in_kohya + "attn1_to_q", "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", "base_model.model.unet." + query});
  expect_layer(attention + ".to_out.0", false, {"unet." + attention + ".to_out.0", "unet." + attention + ".processor.to_out", in_kohya + "attn1_to_out_0"});
  expect_layer("down_blocks.0.resnets.0.conv1", false, {"lora_unet_down_blocks_0_resnets_0_conv1", "lora_unet_input_blocks_1_0_in_layers_2"});
  expect_layer("down_blocks.0.downsamplers.0.conv", false, {"lora_unet_down_blocks_0_downsamplers_0_conv", "lora_unet_input_blocks_2_0_op"});
  expect_layer("up_blocks.0.upsamplers.0.conv", false, {"lora_unet_up_blocks_0_upsamplers_0_conv", "lora_unet_output_blocks_1_1_conv"});
  expect_layer("up_blocks.1.attentions.1.proj_out", false, {"unet.up_blocks.1.attentions.1.proj_out", "lora_unet_output_blocks_3_1_proj_out"});
  expect_layer("mid_block.resnets.1.conv2", false, {"lora_unet_mid_block_resnets_1_conv2", "lora_unet_middle_block_2_out_layers_3"});
  expect_layer("time_embedding.linear_1", false, {"unet.time_embedding.linear_1", "lora_unet_time_embedding_linear_1", "lora_unet_time_embed_0"});
  expect_layer("conv_in", false, {"unet.conv_in", "lora_unet_conv_in", "lora_unet_input_blocks_0_0"});
  const std::string layer = "text_model." + clip + "self_attn.q_proj";
  expect_layer(layer, true,
               {"text_encoder." + layer, "text_encoder." + clip + "self_attn.q_proj", "text_encoder." + layer.substr(0, layer.size() - 6) + "to_q",
                "base_model.model." + layer, "base_model.model." + clip + "self_attn.q_proj", "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
                "lora_te1_text_model_encoder_layers_0_self_attn_q_proj", "lora_te_encoder_layers_0_self_attn_q_proj"});
  expect_layer("text_model." + clip + "self_attn.out_proj", true, {"text_encoder.text_model." + clip + "self_attn.to_out"});
  expect_layer("text_model." + clip + "mlp.fc1", true, {"lora_te_text_model_encoder_layers_0_mlp_fc1"});
  for (const char* other : {"unet.down_blocks.7.attentions.0.proj_in", "lora_unet_conv_norm_out", "text_encoder.text_model.embeddings.token_embedding",
                            "lora_te2_text_model_encoder_layers_0_mlp_fc1", "unet.text_model.encoder.layers.0.mlp.fc1", "text_encoder.conv_in", ""})
    EXPECT_EQ(targets.find(other), nullptr) << other;
}

TEST_F(LoraFiles, AddScaledProductsToLinearLayersAndConvolutions) {
  const std::string conv = "down_blocks.0.resnets.0.conv1", projection = "down_blocks.0.attentions.0.proj_in", text = clip + "mlp.fc1";
  const at::Tensor down = at::randn({3, 8, 3, 3}), up = at::randn({8, 3, 1, 1}), text_down = at::randn({2, 6}), text_up = at::randn({12, 2});
  io::NamedTensors tensors = pair_of("unet." + query), second = pair_of("unet." + query, 5);
  tensors.merge(pair_of("unet." + projection));  // [8, 8, 1, 1], written as a linear layer's
  tensors.insert({{"unet." + conv + ".lora_A.weight", down}, {"unet." + conv + ".lora_B.weight", up}});
  tensors.insert({{"text_encoder." + text + ".lora_A.weight", text_down}, {"text_encoder." + text + ".lora_B.weight", text_up}});
  const auto files = std::vector<LoraFile>{{put(tensors), 0.5}, {put(second, {}, "b.safetensors"), -2}};
  const LoraSums sums = read_lora(files, checkpoint());
  EXPECT_EQ(sums.unet.size(), 3U);

  const io::NamedTensors before = unet();
  io::NamedTensors after, in_bfloat16;
  for (const auto& [name, tensor] : before) {
    after.emplace(name, tensor.detach().clone());
    in_bfloat16.emplace(name, tensor.detach().to(at::kHalf));
  }
  add_lora(after, sums.unet, at::kFloat);
  const auto product = [](const io::NamedTensors& of, const std::string& layer) {
    return at::matmul(of.at("unet." + layer + ".lora_B.weight"), of.at("unet." + layer + ".lora_A.weight"));
  };
  const at::Tensor of_query = 0.5 * product(tensors, query) - 2 * product(second, query);
  const auto expect_added = [&](const std::string& layer, const at::Tensor& sum) {
    const at::Tensor weight = before.at(layer + ".weight");
    EXPECT_TRUE(at::allclose(after.at(layer + ".weight"), weight + sum.view_as(weight), 1e-5, 1e-6)) << layer;
  };
  expect_added(query, of_query);
  expect_added(projection, 0.5 * product(tensors, projection));
  expect_added(conv, 0.5 * at::einsum("or,rihw->oihw", {up.flatten(1), down}));
  for (const auto& [name, tensor] : before) EXPECT_EQ(at::equal(tensor, after.at(name)), !sums.unet.contains(name)) << name;

  add_lora(in_bfloat16, sums.unet, at::kBFloat16);
  const at::Tensor rounded_once = (before.at(query + ".weight").to(at::kHalf).to(at::kFloat) + of_query).to(at::kBFloat16);
  EXPECT_TRUE(at::allclose(in_bfloat16.at(query + ".weight").to(at::kFloat), rounded_once.to(at::kFloat), 1e-2, 1e-5));
  EXPECT_EQ(in_bfloat16.at(query + ".weight").scalar_type(), at::kBFloat16);
  EXPECT_EQ(in_bfloat16.at("conv_in.weight").scalar_type(), at::kHalf) << "untouched";

  TextEncoder encoder = load_text_encoder(checkpoint(), at::kFloat, sums.text_encoder), plain = load_text_encoder(checkpoint());
  const std::string weight = "text_model." + text + ".weight";
  EXPECT_TRUE(at::allclose(nn::state_of(*encoder).at(weight), nn::state_of(*plain).at(weight) + 0.5 * at::matmul(text_up, text_down), 1e-5, 1e-6));
}

TEST_F(LoraFiles, EachLayerHasItsOwnAlphaAndWithoutOneTheRank) {
  io::NamedTensors tensors;
  const auto add = [&](const std::string& layer, std::optional<double> alpha) {
    tensors.emplace("lora_unet_" + layer + ".lora_down.weight", at::randn({4, 8}));
    tensors.emplace("lora_unet_" + layer + ".lora_up.weight", at::randn({8, 4}));
    if (alpha) tensors.emplace("lora_unet_" + layer + ".alpha", at::scalar_tensor(*alpha));
  };
  add("down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 1);
  add("down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k", 2);
  add("down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v", std::nullopt);
  testing::internal::CaptureStderr();
  const LoraSums sums = read_lora({{put(tensors), 10}}, checkpoint());
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_DOUBLE_EQ(sums.unet.at(attention + ".to_q.weight")[0].factor, 10 * 0.25);
  EXPECT_DOUBLE_EQ(sums.unet.at(attention + ".to_k.weight")[0].factor, 10 * 0.5);
  EXPECT_DOUBLE_EQ(sums.unet.at(attention + ".to_v.weight")[0].factor, 10);
  EXPECT_NE(
      said.find("layers of the UNet (3) and the text encoder (0), rank 4, scale 10; alpha: its own tensor for 2 layers; not said, so the rank, for 1 layers"),
      std::string::npos)
      << said;
  EXPECT_NE(said.find("different alphas. Each has its own here; diffusers gives"), std::string::npos) << said;

  for (auto& [name, tensor] : tensors)
    if (name.ends_with(".alpha")) tensor = at::ones({1}, at::kHalf);
  tensors.emplace("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v.alpha", at::ones({}, at::kLong));
  testing::internal::CaptureStderr();
  EXPECT_DOUBLE_EQ(read_lora({{put(tensors)}}, checkpoint()).unet.at(attention + ".to_v.weight")[0].factor, 0.25);
  EXPECT_EQ(testing::internal::GetCapturedStderr().find("different alphas"), std::string::npos);
}

TEST_F(LoraFiles, MetadataOfDiffusersSaysAlphas) {
  const auto of = [&](const std::string& config, const std::string& start = "unet.") {
    return factor(pair_of(start + query), {{"lora_adapter_metadata", config}});
  };
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 2, "unet.lora_alpha": 3})"), 1.5);
  EXPECT_DOUBLE_EQ(of(R"({"r": 2, "lora_alpha": 3})"), 1.5);
  EXPECT_DOUBLE_EQ(of(R"({"r": 2, "lora_alpha": 3})", "base_model.model."), 1.5);
  EXPECT_DOUBLE_EQ(of(R"({"text_encoder.r": 9, "text_encoder.lora_alpha": 3})"), 1) << "not the UNet's";
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 2})"), 4) << "peft's default is 8";
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 2, "unet.lora_alpha": 3, "unet.use_rslora": true})"), 3 / std::sqrt(2));
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 2, "unet.alpha_pattern": {"to_q": 4, "attn1.to_q": 5}})"), 2) << "the first that matches, not by the alphabet";
  EXPECT_DOUBLE_EQ(of(""), 1);
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 7, "unet.rank_pattern": {"attn1.to_q": 2}, "unet.lora_alpha": 3, "unet.alpha_pattern": {"to_k": 4, "to_q": 5}})"), 2.5);
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 2, "unet.lora_alpha": 3, "unet.alpha_pattern": {"^attn1.to_q": 4, "o_q": 5}})"), 1.5) << "neither matches";
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 2, "unet.lora_alpha": 3, "unet.alpha_pattern": {"^)" + query + R"(": 4}})"), 2);
  EXPECT_DOUBLE_EQ(of(R"({"unet.r": 2, "unet.lora_alpha": 3, "unet.alpha_pattern": {"attn1\\.to_q": 4}, "unet.rank_pattern": null})"), 2);

  io::NamedTensors text{{"text_encoder." + clip + "mlp.fc1.lora_A.weight", at::randn({2, 6})},
                        {"text_encoder." + clip + "mlp.fc1.lora_B.weight", at::randn({12, 2})}};
  const auto sums = read_lora(
      {{put(text, {{"lora_adapter_metadata", R"({"text_encoder.r": 1, "text_encoder.rank_pattern": {"^)" + clip + R"(mlp.fc1": 2}})"}})}}, checkpoint());
  EXPECT_DOUBLE_EQ(sums.text_encoder.at("text_model." + clip + "mlp.fc1.weight")[0].factor, 4);
}

TEST_F(LoraFiles, TheConfigurationBesideAFileOfPeftSaysAlphas) {
  ::test::put(folder_ / "adapter_config.json", R"({"peft_type": "LORA", "r": 2, "lora_alpha": 6})");
  EXPECT_DOUBLE_EQ(factor(pair_of("base_model.model." + query)), 3);
  EXPECT_DOUBLE_EQ(factor(pair_of("unet." + query)), 1) << "of another file";
  const std::string before = provenance_of({folder_ / "a.safetensors"});
  ::test::put(folder_ / "adapter_config.json", R"({"peft_type": "LORA", "r": 2, "lora_alpha": 7})");
  EXPECT_NE(provenance_of({folder_ / "a.safetensors"}), before);
}

TEST_F(LoraFiles, MetadataThatMakesNoSenseIsRefused) {
  const auto refuse = [&](const std::string& config, const std::string& message) {
    refused(put(pair_of("unet." + query), {{"lora_adapter_metadata", config}}), message);
  };
  refuse("{", "a.safetensors: lora_adapter_metadata");
  refuse("[]", "a.safetensors: lora_adapter_metadata");
  refuse(R"({"unet.lora_alpha": "3"})", R"("unet.lora_alpha" is no number)");
  refuse(R"({"unet.use_rslora": 1})", R"("unet.use_rslora" is neither true nor false)");
  refuse(R"({"unet.r": 2, "unet.use_dora": true})", R"("unet.use_dora" is true: a DoRA is not read)");
  refuse(R"({"unet.alpha_pattern": [1]})", R"("unet.alpha_pattern" is no object)");
  refuse(R"({"unet.alpha_pattern": {"to_q": null}})", R"("unet.alpha_pattern" is no number)");
  refuse(R"({"unet.alpha_pattern": {"(a*)*b": 1}})", R"(has the key "(a*)*b", which is no layer's name)");
  refuse(R"({"unet.r": 4, "unet.lora_alpha": 4})", "the rank 4, its tensors have 2: these belong to another file");
  refuse(R"({"unet.r": 2, "unet.lora_alpha": 1e999})", "a.safetensors");
}

TEST_F(LoraFiles, WhatFitsNothingIsRefusedByName) {
  const auto refuse = [&](const std::vector<std::string>& more, const std::string& message) {
    io::NamedTensors tensors = pair_of("unet." + query);
    for (const std::string& name : more) tensors.emplace(name, at::ones({1}));
    refused(put(tensors), message);
  };
  refuse({"unet.nowhere.lora_A.weight"}, R"(a.safetensors: "unet.nowhere.lora_A.weight" fits nothing here. What is read)");
  refuse({"a.diff", "b.diff_b", "c.lora_B.bias", "d", "e"}, R"("a.diff", "b.diff_b", "c.lora_B.bias" and 2 more fit nothing here)");
  refuse({"unet." + query + ".dora_scale"}, "the file is a DoRA");
  refuse({"unet." + query + ".lora_magnitude_vector"}, "the file is a DoRA");
  refuse({"lora_unet_conv_in.hada_w1_a"}, "the file is a LoHa");
  refuse({"lora_unet_conv_in.lokr_w1"}, "the file is a LoKr");
  refuse({"lora_unet_conv_in.on_input"}, "the file is an IA3");
  refuse({"lora_unet_conv_in.lora_mid.weight"}, "a LoCon with a core tensor");
  refuse({"lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha"}, "one for Stable Diffusion XL");
}

TEST_F(LoraFiles, WhatIsNotWholeOrDoesNotFitIsRefused) {
  const std::string layer = "unet." + query, a = layer + ".lora_A.weight", b = layer + ".lora_B.weight";
  refused(put({{a, at::randn({2, 8})}}), '"' + layer + "\" has lora_A (down) alone");
  refused(put({{b, at::randn({8, 2})}}), "has lora_B (up) alone");
  refused(put({{layer + ".alpha", at::ones({1})}}), "has an alpha alone");
  refused(put({}), "is empty");
  refused(put({{a, at::empty({0, 8})}, {b, at::empty({8, 0})}}), "with a rank of at least 1");
  refused(put({{a, at::randn({2, 8})}, {b, at::randn({8, 3})}}), "lora_A (down) Float [2, 8] and lora_B (up) Float [8, 3]");
  refused(put({{a, at::randn({2, 8})}, {b, at::randn({8})}}), "they must be floating point numbers");
  refused(put({{a, at::randn({2, 8})}, {b, at::randn({8, 2, 3, 3})}}), "[8, 2, 3, 3]");
  refused(put({{a, at::ones({2, 8}, at::kChar)}, {b, at::randn({8, 2})}}), "lora_A (down) Char");
  refused(put({{a, at::randn({2, 9})}, {b, at::randn({8, 2})}}), "\" adds [8, 9] to a weight of [8, 8]. The file is for another model");
  refused(put({{a, at::randn({2, 8, 3, 3})}, {b, at::randn({8, 2, 1, 1})}}), "adds [8, 8, 3, 3] to a weight of [8, 8]");
  refused(put({{a, at::randn({2, 8})}, {b, at::randn({8, 2})}, {layer + ".alpha", at::ones({2})}}), ".alpha\" is [2], not one number");
  io::NamedTensors twice = pair_of(layer), adapters = pair_of(layer);
  twice.merge(pair_of("base_model.model." + query));
  refused(put(twice), "adds to \"" + query + "\" twice, the second time as \"" + layer);
  adapters.emplace(layer + ".lora_A.other.weight", at::randn({2, 8}));
  refused(put(adapters), "is there twice, the second time as");
  io::NamedTensors broken = pair_of(layer);
  broken.at(b)[0][1] = std::numeric_limits<float>::infinity();
  refused(put(broken), "holds NaN or infinity", /*by_header=*/false);
  broken = pair_of(layer);
  broken.emplace(layer + ".alpha", at::scalar_tensor(std::nan("")));
  refused(put(broken), "alpha of \"" + layer + "\" is nan", /*by_header=*/false);
}

TEST_F(LoraFiles, WhatIsNoSuchFileIsRefusedWithoutACheckpointToo) {
  const auto refuse = [&](const std::filesystem::path& file, const std::string& message) {
    refused(file, message);
    EXPECT_ERROR(check_lora({{file}}, nullptr), core::DataError, message);
  };
  refuse(folder_ / "none.safetensors", "none.safetensors: there is no such LoRA file");
  refuse(root(), "is a folder. Name the file in it");
  ::test::put(folder_ / "p.bin", "\x80\x02}q.");
  refuse(folder_ / "p.bin", "syncdr-data convert FILE");
  ::test::put(folder_ / "html", "<!DOCTYPE html>");
  refuse(folder_ / "html", "is a page of HTML");
  const std::string whole = "whole.safetensors";
  put(pair_of("unet." + query), {}, whole);
  std::filesystem::resize_file(folder_ / whole, std::filesystem::file_size(folder_ / whole) - 4);
  refuse(folder_ / whole, "cut short");
  check_lora({{put(pair_of("unet.of_a_model_that_is_not_fitted_yet"))}}, nullptr);
  EXPECT_ERROR(check_lora({{put({{"unet.x.lora_A.weight", at::ones({1, 1})}})}}, nullptr), core::DataError, "lora_A (down) alone");
}

TEST_F(LoraFiles, WhatIsSavedIsReadWithAScaleOfOne) {
  io::NamedTensors tensors = pair_of(query, 3);
  save_lora(folder_ / "saved.safetensors", tensors, 3);
  const LowRank read = only(folder_ / "saved.safetensors");
  EXPECT_DOUBLE_EQ(read.factor, 1);
  EXPECT_TRUE(at::equal(read.down, tensors.at(query + ".lora_A.weight")));
  EXPECT_TRUE(at::equal(read.up, tensors.at(query + ".lora_B.weight")));
}

TEST_F(LoraFiles, NetworksWithAdditionsAreThoseOfTheMergedWeightsAndAreShared) {
  const LoraFile lora{put(pair_of("unet." + query)), 0.5};
  StableDiffusion plain(checkpoint(), {}), added(checkpoint(), {}, {.lora = {lora}}), again(checkpoint(), {}, {.lora = {lora}});
  EXPECT_EQ(added.unet().get(), again.unet().get());
  EXPECT_NE(plain.hash(), added.hash());
  const StableDiffusion other(checkpoint(), {}, {.lora = {{lora.file, 0.6}}});
  EXPECT_NE(other.hash(), added.hash());

  UNet merged = load_unet(checkpoint(), at::kFloat, read_lora({lora}, checkpoint()).unet);
  io::write_safetensors(root() / "unet/diffusion_pytorch_model.safetensors", nn::state_of(*merged));
  EXPECT_EQ(StableDiffusion(checkpoint(), {.winograd = false}).hash(), added.hash());
}

TEST_F(LoraFiles, ABrokenCheckpointIsRefusedAsWithoutAdditions) {
  const LoraFile lora{put(pair_of("unet." + query))};
  for (const bool missing : {true, false}) {
    io::NamedTensors weights = unet();
    weights.erase(query + ".weight");
    if (!missing) weights.emplace(query + ".weight", at::ones({8, 9}));
    io::write_safetensors(root() / "unet/diffusion_pytorch_model.safetensors", weights);
    EXPECT_ERROR(StableDiffusion(checkpoint(), {}, {.lora = {lora}}), core::DataError, missing ? "missing" : "has shape [8, 9], the model needs [8, 8]");
  }
}

TEST_F(LoraFiles, AFileThatChangesIsReadAgain) {
  const LoraFile lora{put(pair_of("unet." + query))};
  const StableDiffusion before(checkpoint(), {}, {.lora = {lora}});
  const auto time = std::filesystem::last_write_time(lora.file);
  put(pair_of("unet." + query));
  std::filesystem::last_write_time(lora.file, time);
  EXPECT_NE(StableDiffusion(checkpoint(), {}, {.lora = {lora}}).hash(), before.hash());
}

}  // namespace
}  // namespace syncdr::diffusion::lora_tests
