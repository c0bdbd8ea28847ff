// rooms: translate
// The engine under 1, 2 and 3 ranks: what it writes, skips, repairs and refuses.
#include "translate_support.h"

#include <gmock/gmock.h>

#include <fstream>

#include "diffusion/tiny_elite.h"
#include "syncdr/gan/generator_file.h"
#include "syncdr/io/atomic_file.h"
#include "tiny_dataset_test.h"

namespace syncdr::test {
namespace {

namespace fs = std::filesystem;
using translate::TranslateConfig;
using translate::TranslateResult;

/// A dataset of the test's own, seen by all ranks.
class Folder {
 public:
  explicit Folder(int64_t broken = -1) {
    root_ = make_shared_folder();
    world().root_only("making a data set", [&] { make_dataset(root_, broken); });
    dataset_.emplace(root_);
  }
  ~Folder() {
    world().barrier("end of a test");
    std::error_code ignored;
    if (world().is_root()) fs::remove_all(root_, ignored);
  }
  const fs::path& root() const { return root_; }
  const data::Dataset& dataset() const { return *dataset_; }
  fs::path run(const std::string& name) const { return dataset_->synthetic_folder("Photo", "Drawing", name); }

  TranslateResult translate(translate::Translator& translator, const TranslateConfig& config, uint64_t seed = 7) const {
    return translate::translate_split(world(), {*dataset_, "Photo", "Drawing", "train"}, config, seed, translator);
  }

 private:
  fs::path root_;
  std::optional<data::Dataset> dataset_;
};

/// The files of a folder. All ranks call it: none goes on to change a file that another still reads.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files[entry.path().filename().string()] = io::read_file(entry.path());
  world().barrier("reading a folder");
  return files;
}

std::map<std::string, fs::file_time_type> times(const fs::path& folder) {
  std::map<std::string, fs::file_time_type> found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".h5") found[entry.path().filename().string()] = entry.last_write_time();
  world().barrier("reading a folder");
  return found;
}

/// A rectangle of its own for each row.
at::Tensor mask_of(int64_t row) {
  at::Tensor mask = at::zeros({side, side}, at::kByte);
  mask.narrow(0, row % 7, 5).narrow(1, row % 5, 3 + row % 6).fill_(255);
  return mask;
}

/// What unit `unit` must be, by the plainest way: each image translated alone, at a place of the batch that changes.
std::string expected_unit(const Folder& folder, const TranslateConfig& config, translate::Translator& translator, int64_t unit, uint64_t seed) {
  const auto rows = folder.dataset().real("Photo", "train");
  const auto run = data::Manifest::read(folder.run(translate::run_name(config)) / "run.json");
  const auto file = folder.root() / "expected.h5";
  const auto prompt = translator.prompt_kind() ? translate::domain_prompt(config, "Drawing", *translator.prompt_kind()) : "";
  data::ShardWriter writer(file, {"Drawing", "train", data::codec_from_name(config.codec), side, side, run.settings}, true);
  for (auto row = unit * config.unit_rows; row < std::min((unit + 1) * config.unit_rows, rows.rows()); ++row)
    for (int32_t variant = 0; variant < config.variants; ++variant) {
      const auto slot = (3 * row + variant) % translator.batch();
      auto images = at::full({translator.batch(), translator.takes_masks() ? 4 : 3, side, side}, 99, at::kByte);
      const auto image = rows.image(row);
      images[slot].narrow(0, 0, 3).copy_(at::tensor(image.pixels, at::kByte).view({side, side, 3}).permute({2, 0, 1}));
      if (translator.takes_masks()) images[slot][3].copy_(mask_of(row));
      std::vector<translate::Request> requests(static_cast<size_t>(translator.batch()), translate::Request{.prompt = prompt});
      requests[static_cast<size_t>(slot)] = {.seed = seed, .key_hash = io::hash64(rows.key(row)), .variant = variant, .prompt = prompt};
      const auto pixels = translator.translate(images, requests).images[slot].permute({1, 2, 0}).contiguous();
      const auto* data = pixels.data_ptr<uint8_t>();
      const data::Image output{side, side, {data, data + pixels.numel()}};
      const auto [shard, shard_row] = rows.locate(row);
      writer.add({rows.key(row), rows.label(row), data::encode(output, data::codec_from_name(config.codec))},
                 {rows.key(row), static_cast<int32_t>(shard), shard_row, prompt, variant, static_cast<int64_t>(seed), 0});
    }
  writer.seal();
  return io::read_file(file);
}

/// Also says that a rank of its own, another number of ranks, and a repeated run give the same bytes: none of them enters expected_unit.
void expect_units(const Folder& folder, const TranslateConfig& config, translate::Translator& translator, uint64_t seed = 7) {
  if (!world().is_root()) return;
  const auto run = folder.run(translate::run_name(config));
  const auto units = (photos + config.unit_rows - 1) / config.unit_rows;
  for (int64_t unit = 0; unit < units; ++unit)
    EXPECT_TRUE(io::read_file(run / fmt::format("unit-{:05}.h5", unit)) == expected_unit(folder, config, translator, unit, seed)) << "unit " << unit;
  EXPECT_EQ(std::distance(fs::directory_iterator(run), {}), units + 2) << "units, run.json, translation.json, nothing else";
}

/// All ranks must end with this code and a message that holds each of these texts.
void expect_error(core::ExitCode code, const std::vector<std::string>& texts, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const auto& text : texts) EXPECT_THAT(error.what(), testing::HasSubstr(text));
  }
}

TEST(Translate, EachImageDependsOnItsRequestAloneWithNoise) {
  Folder folder;
  NoisyTranslator translator;
  const auto result = folder.translate(translator, noisy_config());
  EXPECT_EQ(result.images, photos * 2);
  EXPECT_EQ(result.skipped + result.redrawn + result.quarantined, 0);
  NoisyTranslator other;
  expect_units(folder, noisy_config(), other);
}

TEST(Translate, EachImageDependsOnItsPixelsAloneWithCut) {
  Folder folder;
  TranslateConfig config{.translator = "cut", .size = side, .batch = 8, .unit_rows = 10, .taper = 0, .codec = "raw"};
  config.cut.weights = (folder.root() / "generator.safetensors").string();
  world().root_only("random weights", [&] {
    torch::manual_seed(1);
    gan::GeneratorConfig shape;
    shape.width = 8;
    shape.blocks = 1;
    shape.nce_layers = {0};
    gan::save_generator(config.cut.weights, gan::Generator(shape));
  });
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  folder.translate(*translator, config);
  expect_units(folder, config, *translator);
}

/// A diffusion translator with random weights, and what it needs in the folder.
TranslateConfig diffusion_config(const Folder& folder, const std::string& name, int64_t width = 8) {
  world().root_only("random weights", [&] {
    fs::create_directory(folder.root() / "model");
    diffusion::TinyCheckpoint{.unet_channels = name == "instruct" || name == "structure" || name == "elite" ? 8 : 4, .width = width}.put(folder.root() /
                                                                                                                                         "model");
    if (name == "elite") diffusion::TinyElite::put(folder.root());
    ::test::put(folder.root() / "prompts.toml", "[Drawing]\ndescription = \"a b\"\ninstruction = \"b a\"\nsubject = \"a S\"\n[Photo]\ndescription = \"b\"\n");
  });
  TranslateConfig config{.translator = name, .prompts = (folder.root() / "prompts.toml").string(), .size = side, .batch = 4, .unit_rows = 10, .taper = 0};
  config.variants = name == "ddib" ? 1 : 2;
  config.diffusion.checkpoint = (folder.root() / "model").string();
  config.diffusion.steps = 3;
  config.img2img.strength = 0.7;
  config.elite.image_encoder = (folder.root() / diffusion::TinyElite::image_encoder).string();
  config.elite.mapper = (folder.root() / diffusion::TinyElite::mapper).string();
  return config;
}

class TranslateDiffusion : public testing::TestWithParam<const char*> {};

TEST_P(TranslateDiffusion, EachImageDependsOnItsRequestAlone) {
  Folder folder;
  const auto config = diffusion_config(folder, GetParam());
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  folder.translate(*translator, config);
  expect_units(folder, config, *translator);
}

class TranslatePrecision : public testing::TestWithParam<const char*> {};

TEST_P(TranslatePrecision, EachImageDependsOnItsRequestAloneWhereLayersAreWideEnoughForKernels) {
  Folder folder;
  auto config = diffusion_config(folder, "img2img", /*width=*/32);
  config.diffusion.precision = GetParam();
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  folder.translate(*translator, config);
  expect_units(folder, config, *translator);
}

INSTANTIATE_TEST_SUITE_P(All, TranslatePrecision, testing::Values("fp32", "bf16"), [](const auto& one) { return one.param; });

/// A sampler of img2img beside the checkpoint's own.
struct SamplerCase {
  const char *name, *scheduler, *cut = "tail";
  double eta = 0;
};

class TranslateSampler : public testing::TestWithParam<SamplerCase> {};

TEST_P(TranslateSampler, EachImageDependsOnItsRequestAlone) {
  Folder folder;
  auto config = diffusion_config(folder, "img2img");
  config.diffusion.scheduler = GetParam().scheduler;
  config.diffusion.eta = GetParam().eta;
  config.img2img.cut = GetParam().cut;
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  folder.translate(*translator, config);
  expect_units(folder, config, *translator);
}

TEST_P(TranslateDiffusion, EachImageDependsOnItsRequestAloneWithALora) {
  Folder folder;
  auto config = diffusion_config(folder, GetParam());
  const auto file = folder.root() / "lora.safetensors";
  world().root_only("a LoRA", [&] {
    torch::manual_seed(2);
    io::NamedTensors tensors;
    const auto add = [&](const std::string& layer, at::IntArrayRef down, at::IntArrayRef up) {
      tensors.emplace(layer + ".lora_A.weight", at::randn(down));
      tensors.emplace(layer + ".lora_B.weight", at::randn(up));
    };
    add("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q", {4, 16}, {16, 4});
    add("unet.mid_block.resnets.0.conv1", {3, 16, 3, 3}, {16, 3, 1, 1});
    add("text_encoder.encoder.layers.0.mlp.fc1", {4, 6}, {12, 4});
    io::write_safetensors(file, tensors);
  });
  config.diffusion.lora = {{file.string(), 0.3}, {file.string(), 0.1}};
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  const auto models = world().gather(translator->provenance().at("model"), "comparing models");
  EXPECT_EQ(std::set<std::string>(models.begin(), models.end()).size(), 1U);
  folder.translate(*translator, config);
  expect_units(folder, config, *translator);
}

INSTANTIATE_TEST_SUITE_P(All, TranslateSampler,
                         testing::Values(SamplerCase{"Lcm", "LCMScheduler"}, SamplerCase{"LcmSpread", "LCMScheduler", "spread"},
                                         SamplerCase{"Tcd", "TCDScheduler", "tail", 0.5}, SamplerCase{"TcdSpread", "TCDScheduler", "spread", 0.5},
                                         SamplerCase{"UniPc", "UniPCMultistepScheduler"}, SamplerCase{"Deis", "DEISMultistepScheduler"},
                                         SamplerCase{"Heun", "HeunDiscreteScheduler"}),
                         [](const auto& one) { return one.param.name; });

TEST_P(TranslateDiffusion, EachImageMayHaveATextOfItsOwn) {
  Folder folder;
  auto config = diffusion_config(folder, GetParam());
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  config.run = "one text";
  folder.translate(*translator, config);
  config.run = "texts";
  config.image_prompts = (folder.root() / "texts.tsv").string();
  world().root_only("texts", [&] {
    std::string lines;
    const std::string usual = translate::domain_prompt(config, "Drawing", *translator->prompt_kind());
    for (int64_t row = 0; row < photos; ++row) lines += fmt::format("{}\t{}\n", photo_key(row), row == 3 ? "b S b" : usual);
    ::test::put(config.image_prompts, lines);
  });
  folder.translate(*translator, config);
  const auto one = folder.dataset().synthetic("Photo", "Drawing", "one text"), own = folder.dataset().synthetic("Photo", "Drawing", "texts");
  ASSERT_EQ(own.rows(), photos * config.variants);
  for (int64_t row = 0; row < own.rows(); ++row) {
    const auto [shard, shard_row] = own.locate(row);
    const bool other = row / config.variants == 3;
    EXPECT_EQ(own.shard(shard).source(shard_row).prompt == "b S b", other) << row;
    EXPECT_EQ(own.image(row).pixels == one.image(row).pixels, !other) << row;
  }
  world().root_only("one text less", [&] { ::test::put(config.image_prompts, photo_key(0) + "\ta S\n"); });
  config.run = "texts-2";
  expect_error(core::ExitCode::bad_data, {"texts.tsv", "no line for \"" + photo_key(1)}, [&] { folder.translate(*translator, config); });
}

INSTANTIATE_TEST_SUITE_P(All, TranslateDiffusion, testing::Values("img2img", "instruct", "ddib", "structure", "elite"),
                         [](const auto& one) { return one.param; });

TEST(Translate, EachImageDependsOnItsRequestAndItsMaskWithElite) {
  Folder folder;
  auto config = diffusion_config(folder, "elite");
  config.elite.masks = (folder.root() / "masks.tsv").string();
  world().root_only("masks", [&] {
    std::string lines;
    for (int64_t row = 0; row < photos; ++row) {
      const at::Tensor pixels = mask_of(row).unsqueeze(2).expand({side, side, 3}).contiguous();
      const auto encoded = data::encode({side, side, {pixels.data_ptr<uint8_t>(), pixels.data_ptr<uint8_t>() + pixels.numel()}}, data::Codec::png);
      ::test::put(folder.root() / fmt::format("{}.png", row), {encoded.begin(), encoded.end()});
      lines += fmt::format("{}\t{}.png\n", photo_key(row), row);
    }
    ::test::put(config.elite.masks, lines);
  });
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  folder.translate(*translator, config);
  expect_units(folder, config, *translator);
  world().root_only("another mask", [&] { fs::copy_file(folder.root() / "0.png", folder.root() / "1.png", fs::copy_options::overwrite_existing); });
  expect_error(core::ExitCode::usage, {"was made with other masks"}, [&] { folder.translate(*translator, config); });
  world().root_only("a broken mask", [&] { ::test::put(folder.root() / "2.png", "no picture"); });
  config.run = "broken";
  config.max_bad_share = 0.5;
  EXPECT_EQ(folder.translate(*translator, config).quarantined, config.variants);
}

TEST(Translate, BatchAndThreadsDoNotChangeTheFilter) {
  Folder folder;
  TranslateConfig config{.translator = "filter", .size = side, .batch = 3, .unit_rows = 4, .taper = 0};
  for (const int64_t batch : {3, 64}) {
    config.batch = batch;
    config.run = fmt::format("batch-{}", batch);
    config.codec_threads = batch == 3 ? 1 : 5;
    const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
    folder.translate(*translator, config);
  }
  const auto small = folder.dataset().synthetic("Photo", "Drawing", "batch-3"), large = folder.dataset().synthetic("Photo", "Drawing", "batch-64");
  ASSERT_EQ(small.rows(), photos);
  for (int64_t row = 0; row < photos; ++row) {
    EXPECT_EQ(small.image(row).pixels, large.image(row).pixels);
    EXPECT_EQ(small.key(row), photo_key(row));
  }
}

TEST(Translate, ARerunSkipsWhatIsSealedAndDoesNotTouchIt) {
  Folder folder;
  NoisyTranslator translator;
  folder.translate(translator, noisy_config());
  const auto bytes = contents(folder.run("noisy"));
  const auto before = times(folder.run("noisy"));
  NoisyTranslator idle;
  const auto result = folder.translate(idle, noisy_config());
  EXPECT_EQ(idle.calls, 0);
  EXPECT_EQ(result.images, 0);
  EXPECT_EQ(result.skipped, photos * 2);
  EXPECT_EQ(times(folder.run("noisy")), before);
  EXPECT_TRUE(contents(folder.run("noisy")) == bytes);
}

/// A finished run, damaged by rank 0, then run again: it must end as before, and what was whole must not have been touched.
void expect_repaired(const std::vector<std::string>& damaged, bool keep_manifest, const std::function<void(const fs::path&)>& damage) {
  Folder folder;
  const auto run = folder.run("noisy");
  NoisyTranslator translator;
  folder.translate(translator, noisy_config());
  const auto bytes = contents(run);
  auto before = times(run);
  world().root_only("damage", [&] {
    if (!keep_manifest) fs::remove(run / "translation.json");
    for (const auto& file : damaged) damage(run / file);
  });
  const auto result = folder.translate(translator, noisy_config());
  EXPECT_EQ(result.images, 10 * static_cast<int64_t>(damaged.size()));
  EXPECT_EQ(result.images + result.skipped, photos * 2);
  EXPECT_TRUE(contents(run) == bytes);
  auto after = times(run);
  for (const auto& file : damaged) {
    EXPECT_NE(before.at(file), after.at(file));
    before.erase(file);
    after.erase(file);
  }
  EXPECT_EQ(before, after);
}

void flip_bit(const fs::path& file, uint64_t place) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(place));
  const auto value = static_cast<char>(stream.get() ^ 4);
  stream.seekp(static_cast<std::streamoff>(place));
  stream.put(value);
}

TEST(Translate, ATruncatedUnitIsMadeAgain) {
  expect_repaired({"unit-00001.h5", "unit-00003.h5"}, false, [](const fs::path& file) { fs::resize_file(file, fs::file_size(file) / 2); });
}

TEST(Translate, AnEmptyUnitIsMadeAgain) {
  expect_repaired({"unit-00000.h5"}, false, [](const fs::path& file) { fs::resize_file(file, 0); });
}

TEST(Translate, AMissingUnitIsMadeAgain) {
  expect_repaired({"unit-00002.h5"}, true, [](const fs::path& file) { fs::remove(file); });
}

TEST(Translate, AUnitWithAFlippedBitInAnImageIsMadeAgain) {
  expect_repaired({"unit-00002.h5"}, false, [](const fs::path& file) {
    const data::ShardReader shard(file);
    const auto image = shard.encoded(4);
    const auto bytes = io::read_file(file);
    flip_bit(file, bytes.find(std::string(image.begin(), image.end())) + image.size() / 2);
  });
}

TEST(Translate, AFlippedBitAnywhereInAFinishedUnitIsFoundByItsHash) {
  expect_repaired({"unit-00001.h5"}, true, [](const fs::path& file) { flip_bit(file, fs::file_size(file) - 3); });
}

TEST(Translate, AUnitThatHoldsOtherRowsIsMadeAgain) {
  expect_repaired({"unit-00000.h5"}, false,
                  [](const fs::path& file) { fs::copy_file(file.parent_path() / "unit-00001.h5", file, fs::copy_options::overwrite_existing); });
}

TEST(Translate, OtherSettingsAreRefusedByName) {
  Folder folder;
  NoisyTranslator translator;
  folder.translate(translator, noisy_config());
  const auto bytes = contents(folder.run("noisy"));
  expect_error(core::ExitCode::usage, {"was made with seed = 7, now it is 8"}, [&] { folder.translate(translator, noisy_config(), 8); });
  auto config = noisy_config();
  config.unit_rows = 6;
  expect_error(core::ExitCode::usage, {"was made with unit_rows = 5, now it is 6"}, [&] { folder.translate(translator, config); });
  world().root_only("losing run.json", [&] { fs::remove(folder.run("noisy") / "run.json"); });
  expect_error(core::ExitCode::usage, {"was made with seed = 7, now it is 8"}, [&] { folder.translate(translator, noisy_config(), 8); });
  EXPECT_EQ(folder.translate(translator, noisy_config()).images, 0);
  EXPECT_TRUE(contents(folder.run("noisy")) == bytes);
}

TEST(Translate, VariantsOfATranslatorWithoutNoiseAreRefused) {
  Folder folder;
  const TranslateConfig config{.translator = "filter", .size = side, .variants = 2};
  const auto translator = translate::make_translator(config, "Photo", "Drawing", at::kCPU);
  expect_error(core::ExitCode::usage, {"variants", "filter"}, [&] { folder.translate(*translator, config); });
}

TEST(Translate, ABlankOutputIsDrawnAgainWithOtherNoise) {
  Folder folder;
  NoisyTranslator translator;
  for (const int64_t row : {3, 4, 16}) translator.blank_at_first.insert({io::hash64(photo_key(row)), 1});
  const auto result = folder.translate(translator, noisy_config());
  EXPECT_EQ(result.redrawn, 3);
  EXPECT_EQ(result.quarantined, 0);
  const auto list = folder.dataset().synthetic("Photo", "Drawing", "noisy");
  for (int64_t row = 0; row < photos * 2; ++row) {
    const bool again = row == 7 || row == 9 || row == 33;
    const auto [shard, shard_row] = list.locate(row);
    EXPECT_EQ(list.shard(shard).source(shard_row).status, again ? 1 : 0) << row;
  }
  // The second drawing is variant 1 + 2, that of a run with four variants.
  auto four = noisy_config();
  four.variants = 4;
  four.run = "four";
  NoisyTranslator good;
  folder.translate(good, four);
  EXPECT_EQ(list.image(7).pixels, folder.dataset().synthetic("Photo", "Drawing", "four").image(3 * 4 + 3).pixels);
}

TEST(Translate, WhatStaysBrokenIsQuarantinedWithTheSourcesPixels) {
  Folder folder(20);
  NoisyTranslator translator;
  translator.never_good.insert(io::hash64(photo_key(11)));
  auto config = noisy_config();
  config.max_bad_share = 0.1;
  const auto result = folder.translate(translator, config);
  EXPECT_EQ(result.quarantined, 4) << "two variants of the image that gives NaN and of the one that cannot be read";
  EXPECT_EQ(result.images, photos * 2);
  const auto list = folder.dataset().synthetic("Photo", "Drawing", "noisy");
  for (int64_t row = 0; row < photos * 2; ++row) {
    const auto [shard, shard_row] = list.locate(row);
    EXPECT_EQ(list.shard(shard).source(shard_row).status, row / 2 == 11 || row / 2 == 20 ? 2 : 0) << row;
  }
  EXPECT_EQ(list.image(22).pixels, photo(11).pixels);
  EXPECT_EQ(list.image(40).pixels, std::vector<uint8_t>(3 * side * side, 0));
  EXPECT_EQ(folder.translate(translator, config).quarantined, 4) << "a rerun reports the same";
}

TEST(Translate, TooManyBrokenOutputsStopTheRunEarly) {
  Folder folder;
  NoisyTranslator translator;
  for (int64_t row = 0; row < photos; ++row) translator.never_good.insert(io::hash64(photo_key(row)));
  auto config = noisy_config();
  config.unit_rows = 1;
  config.max_bad_share = 0.05;
  expect_error(core::ExitCode::bad_data, {"more than 2 of 46 images", "max_bad_share"}, [&] { folder.translate(translator, config); });
  EXPECT_LT(translator.calls, 8) << "of 46 at most";
  EXPECT_FALSE(fs::exists(folder.run("noisy") / "translation.json"));
}

TEST(Translate, AnErrorOnOneRankEndsAllRanksAlikeAndKeepsWhatIsSealed) {
  Folder folder;
  NoisyTranslator translator;
  const int last = world().size() - 1;
  translator.before_call = [&](int call) {
    if (world().rank() != last) std::this_thread::sleep_for(std::chrono::milliseconds(50));  // leaves work to the last rank
    if (world().rank() == last && call == 1)                                                 // a late rank may not get more than one unit
      throw core::IoError("the disk of the model is gone");
  };
  expect_error(core::ExitCode::io, {"the disk of the model is gone"}, [&] { folder.translate(translator, noisy_config()); });
  world().barrier("all have failed");  // and released their claims
  for (const auto& [name, bytes] : contents(folder.run("noisy"))) EXPECT_TRUE(name == "run.json" || name.ends_with(".h5")) << name;
  EXPECT_FALSE(fs::exists(folder.run("noisy") / "translation.json"));
  NoisyTranslator good;
  folder.translate(good, noisy_config());
  expect_units(folder, noisy_config(), good);
}

}  // namespace
}  // namespace syncdr::test
