#include "syncdr/diffusion/checkpoint.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

ConfigReader reader_of(const std::string& text) { return ConfigReader(boost::json::parse(text).as_object(), "config.json"); }

TEST(ConfigReader, TakesFieldsAndFallsBackWhereTheyAreMissingOrNull) {
  ConfigReader reader = reader_of(R"({"a": 3, "b": 2, "c": true, "d": "silu", "e": [1, 2], "f": ["x"], "g": null, "_note": 1})");
  EXPECT_EQ(reader.integer("a", 1), 3);
  EXPECT_EQ(reader.number("b", 1.5), 2.0);
  EXPECT_TRUE(reader.boolean("c", false));
  EXPECT_EQ(reader.text("d", "relu"), "silu");
  EXPECT_THAT(reader.integers("e", {}), testing::ElementsAre(1, 2));
  EXPECT_THAT(reader.texts("f", {}), testing::ElementsAre("x"));
  EXPECT_FALSE(reader.has("g"));
  EXPECT_EQ(reader.integer("g", 7), 7);
  EXPECT_EQ(reader.text("missing", "yes"), "yes");
  EXPECT_NO_THROW(reader.finish());
}

TEST(ConfigReader, RefusesAnUnknownFieldByName) {
  ConfigReader reader = reader_of(R"({"width": 8, "twist": 0.5})");
  reader.integer("width", 1);
  EXPECT_ERROR(reader.finish(), core::DataError, "config.json: the field \"twist\" (0.5) is not known");
}

TEST(ConfigReader, RefusesOtherTypesByName) {
  ConfigReader reader = reader_of(R"({"a": 1.5, "b": "x", "c": 1, "d": 2, "e": [1, "2"], "f": "x"})");
  EXPECT_ERROR(reader.integer("a", 1), core::DataError, "\"a\" is 1.5, not an integer");
  EXPECT_ERROR(reader.number("b", 1), core::DataError, "\"b\" is \"x\", not a number");
  EXPECT_ERROR(reader.boolean("c", true), core::DataError, "\"c\" is 1, not true or false");
  EXPECT_ERROR(reader.text("d", ""), core::DataError, "\"d\" is 2, not a string");
  EXPECT_ERROR(reader.integers("e", {}), core::DataError, "\"e\" holds \"2\", not an integer");
  EXPECT_ERROR(reader.texts("f", {}), core::DataError, "\"f\" is \"x\", not a list of strings");
}

TEST(ConfigReader, SpreadsOneNumberOverLevelsOrCountsTheList) {
  ConfigReader reader = reader_of(R"({"one": 8, "list": [5, 10], "short": [5]})");
  EXPECT_THAT(reader.per_level("one", 3, 1), testing::ElementsAre(8, 8, 8));
  EXPECT_THAT(reader.per_level("list", 2, 1), testing::ElementsAre(5, 10));
  EXPECT_THAT(reader.per_level("missing", 2, 4), testing::ElementsAre(4, 4));
  EXPECT_ERROR(reader.per_level("short", 2, 1), core::DataError, "\"short\" has 1 values for 2 levels");
}

TEST(ConfigReader, AllowsOneValueOnlyWhereNoOtherIsSupported) {
  ConfigReader reader = reader_of(R"({"one": 1, "off": false, "none": null, "mid": null, "act": "gelu"})");
  EXPECT_NO_THROW(reader.only("one", 1.0));
  EXPECT_NO_THROW(reader.only("off", nullptr));
  EXPECT_NO_THROW(reader.only("none", false));
  EXPECT_NO_THROW(reader.only("missing", "x"));
  EXPECT_ERROR(reader.only("mid", "UNetMidBlock2D"), core::DataError, "\"mid\" is null; only \"UNetMidBlock2D\" is supported");
  EXPECT_ERROR(reader.only("act", "silu"), core::DataError, "\"act\" is \"gelu\"; only \"silu\" is supported");
}

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() {
    write_index(R"("unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "safety_checker": [null, null],
                   "requires_safety_checker": true)");
    std::filesystem::create_directory(folder_ / "unet");
  }
  void write_index(const std::string& members) {
    test::put(folder_ / "model_index.json", R"({"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.35.2", )" + members + "}");
  }
  void write(const std::string& name, const std::map<std::string, double>& values) {
    io::NamedTensors tensors;
    for (const auto& [tensor, value] : values) tensors.emplace(tensor, at::full({2}, value));
    io::write_safetensors(folder_ / name, tensors);
  }
  void write_shards() {
    test::put(folder_ / "unet/model.safetensors.index.json",
              R"({"metadata": {"total_size": 16}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})");
    write("unet/model-1.safetensors", {{"a", 1}});
    write("unet/model-2.safetensors", {{"b", 2}});
  }
  io::NamedTensors load(const std::string& variant = "") { return CheckpointFolder(folder_.path(), variant).weights("unet", "model"); }

  TemporaryFolder folder_;
};

TEST_F(Checkpoint, NamesItsComponentsAndTheirClasses) {
  const CheckpointFolder checkpoint(folder_.path());
  EXPECT_EQ(checkpoint.pipeline(), "StableDiffusionPipeline");
  EXPECT_EQ(checkpoint.class_of("unet"), "UNet2DConditionModel");
  EXPECT_ERROR(checkpoint.class_of("safety_checker"), core::DataError, "has no component");
  EXPECT_ERROR(checkpoint.class_of("requires_safety_checker"), core::DataError, "has no component");
  EXPECT_EQ(checkpoint.component("unet", "UNet2DConditionModel"), folder_ / "unet");
}

TEST_F(Checkpoint, ThePipelineMayBeOfAFile) {
  test::put(folder_ / "model_index.json", R"({"_class_name": ["pipeline.py", "Mine"], "unet": ["diffusers", "UNet2DConditionModel"]})");
  EXPECT_EQ(CheckpointFolder(folder_.path()).class_of("unet"), "UNet2DConditionModel");
}

TEST_F(Checkpoint, RefusesAFolderWithoutIndex) { EXPECT_ERROR(CheckpointFolder(folder_ / "unet"), core::DataError, "there is no model_index.json"); }

TEST_F(Checkpoint, NamesAMissingComponent) {
  const CheckpointFolder checkpoint(folder_.path());
  EXPECT_ERROR(checkpoint.class_of("text_encoder"), core::DataError, "StableDiffusionPipeline has no component \"text_encoder\"");
  EXPECT_ERROR(checkpoint.component("vae", "AutoencoderKL"), core::DataError, "the folder of the component \"vae\" (AutoencoderKL) is missing");
}

TEST_F(Checkpoint, NamesBothClassesOfAnotherComponent) {
  EXPECT_ERROR(CheckpointFolder(folder_.path()).component("unet", "UNetFlat"), core::DataError, "\"unet\" is a UNet2DConditionModel, expected is a UNetFlat");
}

TEST_F(Checkpoint, RefusesAComponentOutsideTheFolder) {
  write_index(R"("../unet": ["diffusers", "UNet2DConditionModel"])");
  EXPECT_ERROR(CheckpointFolder(folder_.path()).component("../unet", "UNet2DConditionModel"), core::DataError, "not the plain name");
}

TEST_F(Checkpoint, ReadsTheVariantThatIsAskedFor) {
  write("unet/model.safetensors", {{"a", 1}});
  write("unet/model.fp16.safetensors", {{"a", 2}});
  EXPECT_EQ(load().at("a")[0].item<float>(), 1);
  EXPECT_EQ(load("fp16").at("a")[0].item<float>(), 2);
  EXPECT_ERROR(load("bf16"), core::DataError, "no component has safetensors of the variant \"bf16\". There are fp16; or name none");
  EXPECT_ERROR(load("../x"), core::DataError, "not the plain name");
}

TEST_F(Checkpoint, TakesPlainWeightsOfAComponentWithoutTheVariantWithALine) {
  write("unet/model.safetensors", {{"a", 1}});
  EXPECT_ERROR(load("fp16"), core::DataError, "There are no variants here: name none");
  std::filesystem::create_directory(folder_ / "vae");
  write("vae/model.fp16.safetensors", {{"a", 2}});
  testing::internal::CaptureStderr();
  EXPECT_EQ(load("fp16").at("a")[0].item<float>(), 1);
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_THAT(line, testing::HasSubstr("unet: has no weights of the variant \"fp16\"; those without a variant are taken"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_ERROR(read_weights(folder_ / "unet", "model", "fp16"), core::DataError, "neither model.fp16.safetensors nor");  // one component alone, as diffusers
}

TEST_F(Checkpoint, AVariantMayBeInShardsAndAShardIsNoVariant) {
  write_shards();
  std::filesystem::create_directory(folder_ / "vae");
  test::put(folder_ / "vae/model.safetensors.index.fp16.json", R"({"weight_map": {"a": "model.fp16-00001-of-00001.safetensors"}})");
  write("vae/model.fp16-00001-of-00001.safetensors", {{"a", 5}});
  EXPECT_EQ(CheckpointFolder(folder_.path(), "fp16").weights("vae", "model").at("a")[0].item<float>(), 5);
  EXPECT_EQ(load("fp16").size(), 2u);
  EXPECT_ERROR(load("fp16-00001-of-00001"), core::DataError, "There are fp16; or name none");
}

TEST_F(Checkpoint, SaysWhatLiesInPlaceOfAConfigurationOrAnIndex) {
  test::put(folder_ / "model_index.json", "<!DOCTYPE html><html>Sign in</html>");
  EXPECT_ERROR(load(), core::DataError, "model_index.json: is a page of HTML");
  test::put(folder_ / "unet/config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12\n");
  EXPECT_ERROR(ConfigReader(folder_ / "unet/config.json"), core::DataError, "config.json: is a Git LFS pointer");
}

TEST_F(Checkpoint, SaysWhatIsThereInPlaceOfTheWeights) {
  EXPECT_ERROR(load(), core::DataError, "The folder holds no weights");
  test::put(folder_ / "unet/model.bin", "pickle");
  EXPECT_ERROR(load(), core::DataError, "The folder holds model.bin; only safetensors are read");
  for (int i = 1; i <= 26; ++i) test::put(folder_ / fmt::format("unet/model-{:05}-of-00026.safetensors", i), "");
  for (const char* name : {"other.bin", "more.ckpt", "model.fp16.safetensors"}) test::put(folder_ / "unet" / name, "");
  EXPECT_ERROR(load(), core::DataError, "The folder holds model-*-of-00026.safetensors, model.fp16.safetensors, model.bin and 2 more; only");
}

TEST_F(Checkpoint, JoinsShards) {
  write_shards();
  const io::NamedTensors weights = load();
  EXPECT_EQ(weights.size(), 2u);
  EXPECT_EQ(weights.at("b")[1].item<float>(), 2);
}

TEST_F(Checkpoint, NamesAMissingShard) {
  write_shards();
  std::filesystem::remove(folder_ / "unet/model-2.safetensors");
  EXPECT_ERROR(load(), core::DataError, "the shard \"model-2.safetensors\" is missing");
}

TEST_F(Checkpoint, AShardMayHoldATensorOfATypeThatIsNotRead) {
  test::put(folder_ / "unet/model.safetensors.index.json", R"({"weight_map": {"a": "model-1.safetensors", "note": "model-2.safetensors"}})");
  write("unet/model-1.safetensors", {{"a", 1}});
  const std::string header = R"({"note":{"dtype":"U32","shape":[1],"data_offsets":[0,4]}})";
  test::put(folder_ / "unet/model-2.safetensors", std::string{static_cast<char>(header.size()), 0, 0, 0, 0, 0, 0, 0} + header + "abcd");
  EXPECT_EQ(load().size(), 1u);
}

TEST_F(Checkpoint, RefusesShardsThatDoNotHoldWhatTheIndexSays) {
  write_shards();
  write("unet/model-2.safetensors", {{"b", 2}, {"c", 3}});
  EXPECT_ERROR(load(), core::DataError, "model-2.safetensors: holds \"c\", which model.safetensors.index.json does not list for it");
  write("unet/model-2.safetensors", {});
  EXPECT_ERROR(load(), core::DataError, "model-2.safetensors: lacks \"b\", which model.safetensors.index.json lists for it");
}

TEST_F(Checkpoint, RefusesAnIndexThatLeavesTheFolder) {
  write("secret.safetensors", {{"a", 1}});
  for (const std::string name : {"../secret.safetensors", "/etc/passwd", "..", ""}) {
    test::put(folder_ / "unet/model.safetensors.index.json", R"({"weight_map": {"a": ")" + name + R"("}})");
    EXPECT_ERROR(load(), core::DataError, "\"" + name + "\" is not the plain name");
  }
}

}  // namespace
}  // namespace syncdr::diffusion
