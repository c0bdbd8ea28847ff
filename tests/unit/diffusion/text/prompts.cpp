#include "syncdr/diffusion/prompts.h"

#include <gmock/gmock.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

namespace syncdr::diffusion {
namespace {

using testing::HasSubstr;

class Prompts : public testing::Test {
 protected:
  std::string failure(const std::string& content, PromptKind kind = PromptKind::description) {
    io::write_file(folder / "prompts.toml", content);
    try {
      read_prompt(folder / "prompts.toml", "ink", kind);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "nothing was thrown";
  }
  TemporaryFolder folder;
};

TEST_F(Prompts, AreReadByDomainAndKind) {
  const auto file = folder / "prompts.toml";
  io::write_file(file, "[ink]\ndescription = \"a drawing\"\nsubject = \"a drawing of S\"\n[\"in colour\"]\ninstruction = \"colour it\"\n");
  EXPECT_EQ(read_prompt(file, "ink", PromptKind::description), "a drawing");
  EXPECT_EQ(read_prompt(file, "ink", PromptKind::subject), "a drawing of S");
  EXPECT_EQ(read_prompt(file, "in colour", PromptKind::instruction), "colour it");
}

TEST_F(Prompts, ErrorsNameFileDomainAndKey) {
  EXPECT_THAT(failure("[ink]\ndescripton = \"a drawing\"\n"), AllOf(HasSubstr("prompts.toml"), HasSubstr("\"ink.descripton\""), HasSubstr("instruction")));
  EXPECT_THAT(failure("[ink]\ndescription = \"a drawing\"\n", PromptKind::instruction), HasSubstr("domain \"ink\" has no instruction"));
  EXPECT_THAT(failure("[photo]\ndescription = \"a photo\"\n"), HasSubstr("domain \"ink\" has no description"));
  EXPECT_THAT(failure("[ink]\ndescription = \"\"\n"), HasSubstr("ink.description is empty"));
  EXPECT_THAT(failure("[ink]\ndescription = \"a\\u0000b\"\n"), HasSubstr("ink.description holds a zero byte"));
  EXPECT_THAT(failure("[ink]\ndescription = 3\n"), HasSubstr("ink.description is no string"));
  EXPECT_THAT(failure("description = \"a drawing\"\n"), HasSubstr("\"description\" is no table"));
  EXPECT_THAT(failure("[ink\n"), HasSubstr("line 1"));
  EXPECT_THROW(read_prompt(folder / "missing.toml", "ink", PromptKind::description), core::DataError);
}

TEST_F(Prompts, ASubjectHoldsTheWordSOnce) {
  EXPECT_EQ(subject_place("S", "here"), 0);
  EXPECT_EQ(subject_place("A painting of a S", "here"), 16);
  EXPECT_EQ(subject_place("Sand, S: Sun, sS US", "here"), 6);
  EXPECT_EQ(subject_place("an S, on white", "here"), 3);
  for (const char* text : {"a painting", "s", "S's", "(S)", "S-bend", "S_1"})
    EXPECT_ERROR(subject_place(text, "here"), core::DataError, "holds the word S nowhere");
  EXPECT_ERROR(subject_place("S on S", "here"), core::DataError, "here: \"S on S\" holds the word S 2 times");
  EXPECT_THAT(failure("[ink]\ndescription = \"a\"\nsubject = \"a drawing\"\n"),
              AllOf(HasSubstr("prompts.toml: ink.subject: \"a drawing\""), HasSubstr("nowhere")));
}

TEST_F(Prompts, TheOnesGivenAreWhole) {
  const std::filesystem::path given = SYNCDR_SOURCE_DIR "/configs/prompts";
  EXPECT_EQ(read_prompt(given / "office_home.toml", "Product", PromptKind::instruction), "Convert to a photo without a background.");
  EXPECT_EQ(read_prompt(given / "domainnet.toml", "sketch", PromptKind::subject), "A pencil/charcoal sketch of S");
  EXPECT_EQ(read_prompt(given / "cub.toml", "Painting", PromptKind::description), "A painting of a bird.");
  EXPECT_EQ(read_prompt(given / "office_home.toml", "Product", PromptKind::subject), "A product image of S on a white background");
  EXPECT_EQ(read_prompt(given / "emoji.toml", "ink", PromptKind::description), "an ink drawing");
}

}  // namespace
}  // namespace syncdr::diffusion
