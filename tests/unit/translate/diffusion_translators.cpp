#include <ATen/ops/linspace.h>

#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <set>

#include "diffusion_translators.h"
#include "run_prompts.h"
#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/learned_tokens.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"

namespace syncdr::translate {
namespace {

const std::vector<std::string> sampling_translators{"img2img", "instruct", "ddib", "structure", "elite"};

// The image alone, at every place of the batch, with other neighbours that ask for something else.
TEST_F(DiffusionTranslators, DependNeitherOnPlaceNorOnNeighboursBitForBit) {
  for (const auto& name : sampling_translators) {
    const auto translator = make(config(name));
    const auto together = translator->translate(images, requests()).images;
    for (int64_t image = 0; image < images_a_batch; ++image)
      for (int64_t place = 0; place < images_a_batch; ++place) {
        auto others = at::full_like(images, 40 * place);
        others[place].copy_(images[image]);
        std::vector<Request> asked(images_a_batch, request(99, 1, "b S"));
        asked[static_cast<size_t>(place)] = requests()[static_cast<size_t>(image)];
        EXPECT_TRUE(at::equal(translator->translate(others, asked).images[place], together[image])) << name << " " << image << " at " << place;
      }
  }
}

TEST_F(DiffusionTranslators, GiveTheSameBitsWithAnyNumberOfThreads) {
  const auto before = at::get_num_threads();
  for (const auto& name : sampling_translators) {
    at::set_num_threads(1);
    const auto expected = make(config(name))->translate(images, requests()).images;
    for (const int threads : {2, 5}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(at::equal(make(config(name))->translate(images, requests()).images, expected)) << name << ", " << threads << " threads";
    }
  }
  at::set_num_threads(before);
}

// LibTorch takes other kernels for one image of up to 20,480 numbers. At 64 pixels the autoencoder's layers hold more, at 112 the UNet's too; above, none.
TEST_F(DiffusionTranslators, GiveTheSameBitsAtSizesOnBothSidesOfLibTorchsLimits) {
  const auto before = at::get_num_threads();
  const auto expect_equal = [&](const std::string& name, int64_t size) {
    auto settings = config(name);
    settings.size = size;
    settings.batch = settings.diffusion.steps = 2;
    const auto translator = make(settings);
    const auto pictures = at::randint(0, 256, {2, 3, size, size}, at::kByte);
    at::set_num_threads(1);
    const auto expected = translator->translate(pictures, std::vector{request(11), request(12)}).images;
    at::set_num_threads(2);
    const auto swapped = translator->translate(pictures.flip(0), std::vector{request(12), request(11, 0, "b S")}).images;
    EXPECT_TRUE(at::equal(swapped[0], expected[1])) << name << ", " << size << " pixels";
  };
  for (const auto& name : sampling_translators) expect_equal(name, 64);
  expect_equal("img2img", 112);
  at::set_num_threads(before);
}

TEST_F(DiffusionTranslators, EveryPartOfTheRequestMatters) {
  for (const auto& name : sampling_translators) {
    const auto translator = make(config(name));
    const auto output = [&](const Request& first) { return translator->translate(images, std::vector<Request>{first, request(12), request(13)}).images[0]; };
    const auto usual = output(request(11));
    EXPECT_TRUE(at::equal(usual, output(request(11)))) << name;
    EXPECT_FALSE(at::equal(usual, output(request(11, 0, "b S b")))) << name << ": the text";
    EXPECT_EQ(at::equal(usual, output(request(11, 1))), !translator->is_random()) << name << ": the variant";
    EXPECT_EQ(at::equal(usual, output(request(10))), !translator->is_random()) << name << ": the key";
  }
}

TEST_F(DiffusionTranslators, TextsAreThoseOfThePromptFile) {
  for (const auto& name : sampling_translators)
    EXPECT_EQ(*make(config(name))->prompt_kind(), name == "instruct" ? diffusion::PromptKind::instruction
                                                  : name == "elite"  ? diffusion::PromptKind::subject
                                                                     : diffusion::PromptKind::description);
  EXPECT_EQ(domain_prompt(config("instruct"), "ink", diffusion::PromptKind::instruction), "b a");
  EXPECT_ERROR(domain_prompt({.translator = "img2img"}, "ink", diffusion::PromptKind::description), core::UsageError, "translate.prompts");
  auto settings = config("ddib");
  EXPECT_EQ(make(settings)->provenance().at("source_prompt"), "a");
  EXPECT_ERROR(make_translator(settings, "charcoal", "ink", at::kCPU), core::DataError, "domain \"charcoal\" has no description");
}

TEST_F(DiffusionTranslators, SayWhatMadeTheOutput) {
  for (const auto& name : sampling_translators) {
    const auto provenance = make(config(name))->provenance();
    EXPECT_EQ(provenance.at("translator"), name);
    EXPECT_EQ(provenance.at("model").size(), 32U);
    EXPECT_EQ(provenance.at("scheduler"), "DDIMScheduler");
    EXPECT_EQ(provenance.at("steps"), "4");
    EXPECT_EQ(provenance.at("precision"), "fp32");
  }
  EXPECT_EQ(make(config("img2img"))->provenance().at("strength"), "0.5");
  EXPECT_EQ(make(config("structure"))->provenance().at("sigma"), "0.9 1.5");
  EXPECT_EQ(make(config("elite"))->provenance().at("elite").size(), 32U);
  auto other = config("instruct");
  other.diffusion.scheduler = "EulerAncestralDiscreteScheduler";
  EXPECT_EQ(make(other)->provenance().at("scheduler"), "EulerAncestralDiscreteScheduler");
}

/// A LoRA of one layer of these checkpoints' UNets. Its lora_A rises from 0 to value: behind a layer norm equal ones would add up to nothing.
std::filesystem::path put_lora(const std::filesystem::path& file, double value) {
  const std::string layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q";
  io::write_safetensors(file, {{layer + ".lora_A.weight", at::linspace(0, value, 16, at::kFloat).view({1, 16})},
                               {layer + ".lora_B.weight", at::full({16, 1}, value, at::kFloat)}});
  return file;
}

TEST_F(DiffusionTranslators, SayWhichLoraWithWhichScaleMadeTheOutput) {
  auto settings = config("img2img");
  const auto plain = make(settings);
  EXPECT_FALSE(plain->provenance().contains("lora"));
  settings.diffusion.lora = {{put_lora(folder / "a.safetensors", 4).string()}, {put_lora(folder / "b.safetensors", 0.25).string(), 0.5}};
  const auto both = make(settings);
  EXPECT_NE(both->provenance().at("model"), plain->provenance().at("model"));
  const std::string said = both->provenance().at("lora");
  EXPECT_NE(said.find("a.safetensors at 1 ("), std::string::npos) << said;
  EXPECT_NE(said.find(", b.safetensors at 0.5 ("), std::string::npos) << said;
  EXPECT_FALSE(at::equal(both->translate(images, requests()).images, plain->translate(images, requests()).images));
  put_lora(folder / "b.safetensors", 0.3);
  EXPECT_NE(make(settings)->provenance().at("lora"), said);
}

TEST_F(DiffusionTranslators, RefuseALoraBeforeTheNetworksAreRead) {
  for (const char* network : {"plain/unet", "instruct/unet"}) std::filesystem::remove(folder / network / "diffusion_pytorch_model.safetensors");
  test::put(folder / "broken.safetensors", "no such file");
  for (const auto& name : sampling_translators) {
    auto settings = config(name);
    const auto refuse = [&](const std::string& file, const char* text) {
      settings.diffusion.lora = {{put_lora(folder / "a.safetensors", 0.5).string()}, {file}};
      EXPECT_ERROR(find_translator(name)->check(settings), core::DataError, text);
    };
    refuse("/nowhere.safetensors", "/nowhere.safetensors: there is no such LoRA file");
    refuse((folder / "broken.safetensors").string(), "broken.safetensors");
    settings.diffusion.lora = {{}};
    EXPECT_ERROR(find_translator(name)->check(settings), core::UsageError, "translate.diffusion.lora[0] names no file");
    if (name == "elite") continue;          // has no fit of its model
    settings.diffusion.checkpoint.clear();  // of a model that is fitted first
    refuse("/nowhere.safetensors", "/nowhere.safetensors: there is no such LoRA file");
  }
}

/// A component's folder with a TAESD of one width for each of the encoder's numbers of blocks.
std::string put_tiny_autoencoder(const std::filesystem::path& folder, const std::vector<int64_t>& blocks) {
  std::filesystem::create_directory(folder);
  const std::vector<int64_t> widths(blocks.size(), 8);
  const boost::json::object fields{{"_class_name", "AutoencoderTiny"},
                                   {"encoder_block_out_channels", boost::json::value_from(widths)},
                                   {"decoder_block_out_channels", boost::json::value_from(widths)},
                                   {"num_encoder_blocks", boost::json::value_from(blocks)},
                                   {"num_decoder_blocks", boost::json::value_from(blocks)}};
  test::put(folder / "config.json", boost::json::serialize(fields));
  diffusion::Autoencoder autoencoder(diffusion::read_autoencoder_config(folder));
  nn::initialise(*autoencoder, "tiny", 1);
  io::write_safetensors(folder / "diffusion_pytorch_model.safetensors", nn::state_of(*autoencoder));
  return folder.string();
}

TEST_F(DiffusionTranslators, TakeAnotherAutoencoderThanTheCheckpoints) {
  auto settings = config("img2img");
  const auto plain = make(settings);
  settings.diffusion.autoencoder = put_tiny_autoencoder(folder / "taesd", {1, 1}) + "/";
  const auto other = make(settings);
  EXPECT_EQ(other->provenance().at("autoencoder"), "taesd");
  EXPECT_NE(other->provenance().at("model"), plain->provenance().at("model"));
  const at::Tensor together = other->translate(images, requests()).images;
  EXPECT_EQ(together.sizes(), images.sizes());
  EXPECT_FALSE(at::equal(together, plain->translate(images, requests()).images));
  const at::Tensor turned = other->translate(images.flip(0), std::vector{request(13), request(12), request(11)}).images;
  EXPECT_TRUE(at::equal(turned.flip(0), together));
}

TEST_F(DiffusionTranslators, RefuseAnAutoencoderOfOtherLatentsBeforeTheNetworksAreRead) {
  auto settings = config("img2img");
  const auto& row = *find_translator("img2img");
  settings.diffusion.autoencoder = put_tiny_autoencoder(folder / "deep", {1, 1, 1});
  EXPECT_ERROR(row.check(settings), core::UsageError, "a latent has 4 channels and stands for 4 pixels a side");
  settings.diffusion.autoencoder = "/nowhere";
  EXPECT_ERROR(row.check(settings), core::DataError, "/nowhere/config.json");
  settings.diffusion.autoencoder = put_tiny_autoencoder(folder / "fits", {1, 1});
  row.check(settings);
  settings.diffusion.checkpoint.clear();
  EXPECT_ERROR(row.check(settings), core::UsageError, "which is not set");
}

TEST_F(DiffusionTranslators, ReadLearnedTokensAndSayWhichByTheirFilesHash) {
  const auto file = folder / "word.safetensors";
  const auto write = [&](double value) { diffusion::write_learned_token(file, {"<w>", at::full({2, 6}, value)}); };
  write(1);
  for (const auto& name : sampling_translators) {
    auto settings = config(name);
    EXPECT_FALSE(make(settings)->provenance().contains("tokens")) << name;
    const auto output = [&] {
      return make(settings)->translate(images, std::vector<Request>(images_a_batch, request(11, 0, name == "elite" ? "S as <w>" : "a <w>"))).images;
    };
    const auto without = output();
    settings.diffusion.tokens = {file.string()};
    EXPECT_FALSE(at::equal(output(), without)) << name;
    EXPECT_EQ(make(settings)->provenance().at("tokens"), "<w> " + io::hash_file(file)) << name;
  }
  auto settings = config("img2img");
  settings.diffusion.tokens = {file.string()};
  const auto before = make(settings)->provenance();
  write(2);
  EXPECT_NE(make(settings)->provenance().at("tokens"), before.at("tokens"));
  EXPECT_NE(make(settings)->provenance().at("model"), before.at("model"));
}

TEST_F(DiffusionTranslators, RefuseBrokenTokensBeforeTheNetworksAreRead) {
  std::filesystem::remove(folder / "plain" / "unet/diffusion_pytorch_model.safetensors");
  auto settings = config("ddib");
  settings.diffusion.tokens = {(folder / "none.safetensors").string()};
  EXPECT_ERROR(check_ddib(settings), core::DataError, "none.safetensors");
  diffusion::write_learned_token(folder / "wide.safetensors", {"<w>", at::full({2, 7}, 1.0)});
  settings.diffusion.tokens = {(folder / "wide.safetensors").string()};
  EXPECT_ERROR(check_ddib(settings), core::DataError, "wide.safetensors: token \"<w>\": its vectors have 7 values");
  settings.diffusion.checkpoint.clear();  // it is to be fitted: of what width is not known yet
  check_ddib(settings);
  settings.diffusion.tokens = {(folder / "none.safetensors").string()};
  EXPECT_ERROR(check_ddib(settings), core::DataError, "none.safetensors");
}

// Each changes the output, and none the networks' parameters.
TEST_F(DiffusionTranslators, SayWhatTheCheckpointsConfigurationsWere) {
  const auto configuration = [&] { return make(config("img2img"))->provenance().at("configuration"); };
  const std::string before = configuration();
  EXPECT_EQ(before.size(), 32U);
  EXPECT_EQ(configuration(), before);
  const std::filesystem::path checkpoint = folder / "plain";
  std::set<std::string> seen{before};
  const auto expect_other = [&](const char* file, const std::string& added, size_t from_end) {
    const std::string content = io::read_file(checkpoint / file, 1 << 20);
    test::put(checkpoint / file, std::string(content).insert(content.size() - from_end, added));
    EXPECT_TRUE(seen.insert(configuration()).second) << file;
    test::put(checkpoint / file, content);
    EXPECT_EQ(configuration(), before) << file;
  };
  expect_other("scheduler/scheduler_config.json", R"(, "prediction_type": "v_prediction")", 1);
  expect_other("vae/config.json", R"(, "scaling_factor": 0.2)", 1);
  expect_other("tokenizer/merges.txt", "a b</w>\n", 0);
  test::put(checkpoint / "unet" / "README.md", "a note");
  EXPECT_EQ(configuration(), before);
}

// The checkpoint's texts have 8 tokens: start, six and end.
TEST_F(DiffusionTranslators, WhatIsCutFromATextIsSaidOnceAndKept) {
  auto settings = config("ddib");
  settings.diffusion.negative_prompt = "b b b b b b a";
  test::put(folder / "prompts.toml", "[ink]\ndescription = \"a\"\n[colour]\ndescription = \"a a a a a a b a\"\n");
  testing::internal::CaptureStderr();
  const auto translator = make(settings);
  const auto provenance = translator->provenance();
  const RunPrompts one({"A b a b a b a b"}, *translator), several({"a", "a a a a a a a", "a", "a a a a a a a"}, *translator),
      fits({"b b a a b b"}, *translator);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(provenance.at("negative_prompt"), "b b b b b b a");
  EXPECT_EQ(provenance.at("negative_prompt_cut"), "a");
  EXPECT_EQ(provenance.at("source_prompt_cut"), "b a");
  EXPECT_EQ(one.provenance(), (std::map<std::string, std::string>{{"prompt", "A b a b a b a b"}, {"prompt_cut", "a b"}}));
  EXPECT_EQ(several.provenance().at("image_prompts_cut"), "1");
  EXPECT_EQ(fits.provenance(), (std::map<std::string, std::string>{{"prompt", "b b a a b b"}}));
  for (const char* text : {"\"b b b b b b a\": it does not see its end, \"a\"", "\"a a a a a a b a\": it does not see its end, \"b a\"",
                           "\"A b a b a b a b\": it does not see its end, \"a b\"", "\"a a a a a a a\": it does not see its end, \"a\""}) {
    const auto first = said.find(text);
    EXPECT_NE(first, std::string::npos) << text << " in\n" << said;
    EXPECT_EQ(said.find(text, first + 1), std::string::npos) << text << " twice in\n" << said;
  }
  EXPECT_EQ(said.find("b b a a b b"), std::string::npos) << said;
}

TEST_F(DiffusionTranslators, NaNIsToldByImage) {
  auto settings = config("img2img");
  settings.img2img.guidance = 1e38;  // beyond fp32 in one of the guidance's terms
  const auto output = make(settings)->translate(images, requests());
  EXPECT_FALSE(output.finite.any().item<bool>());
}

TEST_F(DiffusionTranslators, TakeAnotherSamplerThanTheFolderHas) {
  const auto kdpm2 = folder / "kdpm2";
  std::filesystem::create_directory(kdpm2);
  diffusion::TinyCheckpoint{.scheduler = R"("_class_name": "KDPM2DiscreteScheduler", "clip_sample": false, "use_karras_sigmas": false)"}.put(kdpm2);
  for (const char* name : {"img2img", "ddib"}) {
    auto settings = config(name);
    settings.diffusion.checkpoint = kdpm2.string();
    if (settings.translator == "img2img") {
      EXPECT_ERROR(make(settings), core::DataError, "translate.diffusion.scheduler=DDIMScheduler");
      settings.diffusion.scheduler = "DDIMScheduler";
    }
    const auto translator = make(settings);
    EXPECT_EQ(translator->provenance().at("scheduler"), "DDIMScheduler");
    const auto same = make(config(name));  // whose folder says DDIM
    EXPECT_TRUE(at::equal(translator->translate(images, requests()).images, same->translate(images, requests()).images)) << name;
  }
}

TEST_F(DiffusionTranslators, RefuseASamplerBeforeTheNetworksAreRead) {
  const auto broken = folder / "broken";
  std::filesystem::create_directory(broken);
  diffusion::TinyCheckpoint{.scheduler = R"("_class_name": "PNDMScheduler", "skip_prk_steps": false)"}.put(broken);
  std::filesystem::remove(broken / "unet/diffusion_pytorch_model.safetensors");
  auto settings = config("img2img");
  settings.diffusion.checkpoint = broken.string();
  EXPECT_ERROR(make(settings), core::UsageError, "set \"skip_prk_steps\": true");
  settings.diffusion.scheduler = "DDIMScheduler";
  settings.img2img.strength = 0.1;
  EXPECT_ERROR(make(settings), core::UsageError, "leaves no step");
  settings.img2img.strength = 1;
  EXPECT_ERROR(make(settings), core::DataError, "unet");
}

TEST_F(DiffusionTranslators, RefuseWhatTheyCannotServe) {
  const auto refusal = [&](const std::string& name, auto change, const char* text) {
    auto settings = config(name);
    change(settings);
    EXPECT_ERROR(make(settings), core::UsageError, text);
  };
  const auto swap = [&](const char* checkpoint) { return [this, checkpoint](TranslateConfig& c) { c.diffusion.checkpoint = (folder / checkpoint).string(); }; };
  refusal("img2img", swap("instruct"), "translator instruct or structure");
  refusal("ddib", swap("instruct"), "translator instruct or structure");
  refusal("instruct", swap("plain"), "no InstructPix2Pix");
  refusal("structure", swap("plain"), "syncdr fit diffusion");
  std::filesystem::create_directory(folder / "inpainting");
  diffusion::TinyCheckpoint{.unet_channels = 9}.put(folder / "inpainting");
  refusal("elite", swap("inpainting"), "takes 5 channels beside the noise");
  refusal("img2img", [](TranslateConfig& c) { c.size = 17; }, "multiple of 2");
  refusal("img2img", [](TranslateConfig& c) { c.img2img.strength = 0.1; }, "strength");
  refusal("ddib", [](TranslateConfig& c) { c.diffusion.scheduler = "PNDMScheduler"; }, "inverts DDIM");
  refusal("ddib", [](TranslateConfig& c) { c.diffusion.eta = 0.5; }, "Set it to 0");
  refusal("structure", [](TranslateConfig& c) { c.structure.sigma = {2, 1}; }, "smallest, largest");
  refusal("instruct", [](TranslateConfig& c) { c.diffusion.scheduler = "Magic"; }, "Magic");
  refusal("img2img", [](TranslateConfig& c) { c.diffusion.scheduler = "DDIMInverseScheduler"; }, "not one of DDIMScheduler");
  auto settings = config("img2img");
  settings.diffusion.checkpoint.clear();
  EXPECT_ERROR(make(settings), core::DataError, "syncdr fit diffusion");
  settings.diffusion.checkpoint = "/nowhere";
  EXPECT_ERROR(make(settings), core::DataError, "/nowhere");
}

}  // namespace
}  // namespace syncdr::translate
