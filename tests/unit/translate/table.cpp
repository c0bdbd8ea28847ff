#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "diffusion/tiny_elite.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/gan/generator_file.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {
namespace {

TEST(TableOfTranslators, EachCanBeNamedInAConfigurationAndNothingElseCan) {
  std::set<std::string_view> names, titles;
  for (const TranslatorRow& row : translators) {
    TranslateConfig config;
    core::read_config_text(core::visit_of(config), fmt::format("translator = \"{}\"", row.name), "here");
    EXPECT_EQ(config.translator, row.name);
    EXPECT_EQ(find_translator(row.name), &row);
    names.insert(row.name);
    titles.insert(row.title);
  }
  EXPECT_EQ(names.size(), std::size(translators));
  EXPECT_EQ(titles.size(), std::size(translators));
  EXPECT_EQ(find_translator("magic"), nullptr);
  TranslateConfig config;
  EXPECT_ERROR(core::read_config_text(core::visit_of(config), "translator = \"magic\"", "here"), core::UsageError,
               fmt::format("it must be one of {}", fmt::join(translator_names(), ", ")));
}

TEST(TableOfTranslators, EachReadsItsGroupsAndThoseOfNoOther) {
  std::map<std::string_view, std::set<std::string>> groups;
  for (const TranslatorRow& row : translators)
    for (const std::string& key : keys_of(row)) {
      const size_t dot = key.find('.');
      if (dot != std::string::npos) groups[row.name].insert(key.substr(0, dot));
      else groups["all"].insert(key);
    }
  EXPECT_THAT(groups.at("all"), testing::IsSupersetOf({"size", "variants", "prompts"}));
  EXPECT_THAT(groups.at("filter"), testing::ElementsAre("filter"));
  EXPECT_THAT(groups.at("img2img"), testing::ElementsAre("diffusion", "img2img"));
  EXPECT_THAT(groups.at("elite"), testing::ElementsAre("diffusion", "elite", "structure"));
  for (const TranslatorRow& row : translators)
    EXPECT_EQ(std::ssize(groups.at(row.name)), 1 + std::count(row.groups.begin(), row.groups.end(), ' ')) << row.name << ": a group that does not exist";
}

TEST(TableOfTranslators, EachMakesWhatItsRowSays) {
  TemporaryFolder folder;
  gan::save_generator(folder / "generator.safetensors", gan::Generator(gan::GeneratorConfig{.width = 8, .blocks = 1, .nce_layers = {0, 4}}));
  for (const char* name : {"plain", "instruct"}) std::filesystem::create_directory(folder / name);
  diffusion::TinyCheckpoint{}.put(folder / "plain");
  diffusion::TinyCheckpoint{.unet_channels = 8}.put(folder / "instruct");
  test::put(folder / "prompts.toml", "[ink]\ndescription = \"a b\"\ninstruction = \"b a\"\n[colour]\ndescription = \"a\"\n");
  diffusion::TinyElite::put(folder.path());
  for (const TranslatorRow& row : translators) {
    TranslateConfig config{.translator = std::string(row.name), .prompts = (folder / "prompts.toml").string(), .size = 16, .batch = 1};
    config.cut.weights = (folder / "generator.safetensors").string();
    config.elite.image_encoder = (folder / diffusion::TinyElite::image_encoder).string();
    config.elite.mapper = (folder / diffusion::TinyElite::mapper).string();
    std::unique_ptr<Translator> made;
    for (const char* checkpoint : {"plain", "instruct"}) {  // each takes one of them and refuses the other, or needs none
      config.diffusion.checkpoint = (folder / checkpoint).string();
      try {
        made = make_translator(config, "colour", "ink", at::kCPU);
      } catch (const core::UsageError&) {
      }
    }
    ASSERT_TRUE(made) << row.name;
    EXPECT_EQ(made->provenance().at("translator"), row.name);
    EXPECT_EQ(made->is_random(), row.random) << row.name;
    EXPECT_EQ(made->prompt_kind(), row.prompt) << row.name;
  }
}

}  // namespace
}  // namespace syncdr::translate
