#include "syncdr/diffusion/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clip_words.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

using testing::ElementsAre;

TEST(ClipWords, CleansAsTheOriginal) {
  EXPECT_EQ(clean_text("A\tB\r\nC\u00A0D"), "a b  c d");
  EXPECT_EQ(clean_text("x\u200By\az\xFFw"), "xyzw");       // zero-width space, bell, no UTF-8
  EXPECT_EQ(clean_text("E\u0301\u1E9E"), "\u00E9\u00DF");  // composed; the capital sharp s
  EXPECT_EQ(clean_text("a\u6F22b"), "a \u6F22 b");         // an ideograph stands alone
  EXPECT_EQ(clean_text("\u039F\u03A3"), "\u03BF\u03C2");   // a sigma that ends a word
}

TEST(ClipWords, SplitsByThePattern) {
  EXPECT_THAT(split_words("it's 42 caf\u00E9!?"), ElementsAre("it", "'s", "4", "2", "caf\u00E9", "!?"));
  EXPECT_THAT(split_words("a!'s"), ElementsAre("a", "!'", "s"));  // a run of signs takes the apostrophe
  EXPECT_THAT(split_words("'\u017F <|endoftext|>"), ElementsAre("'\u017F", "<|endoftext|>"));
  EXPECT_THAT(split_words("  "), ElementsAre());
  EXPECT_THAT(split_words("a\u0345b"), ElementsAre("a", "b"));  // the original's pattern passes over the iota subscript
}

/// A vocabulary of a few letters.
class TokenizerTest : public testing::Test {
 protected:
  TokenizerTest() {
    test::put(folder_ / "vocab.json",
              R"({"!": 0, "a": 1, "b": 2, "c": 3, "a</w>": 4, "b</w>": 5, "c</w>": 6, "ab": 7, "abc</w>": 8, "!</w>": 9,
                                          "<|startoftext|>": 10, "<|endoftext|>": 11})");
    test::put(folder_ / "merges.txt", "#version: 0.2\na b\nab c</w>\n");
  }
  Tokenizer make() const { return Tokenizer(folder_.path()); }

  TemporaryFolder folder_;
};

TEST_F(TokenizerTest, MergesByRank) {
  EXPECT_THAT(make().ids("abc ABA c"), ElementsAre(8, 7, 4, 6));
  EXPECT_THAT(make().ids("x"), ElementsAre(11)) << "what the vocabulary lacks is the unknown token";
}

TEST_F(TokenizerTest, FramesCutsAndPads) {
  test::put(folder_ / "tokenizer_config.json", R"({"model_max_length": 5, "pad_token": "!", "tokenizer_class": "CLIPTokenizer"})");
  const at::Tensor encoded = make().encode({"a", "a a b b"});
  EXPECT_THAT(std::vector<int64_t>(encoded.const_data_ptr<int64_t>(), encoded.const_data_ptr<int64_t>() + 10),
              ElementsAre(10, 4, 11, 0, 0, 10, 4, 4, 5, 11));
}

TEST_F(TokenizerTest, TakesSpecialTokensOfTheOlderFile) {
  EXPECT_EQ(make().pad(), 11);
  EXPECT_EQ(make().length(), 77);
  test::put(folder_ / "special_tokens_map.json",
            R"({"pad_token": "!", "bos_token": {"content": "<|startoftext|>", "lstrip": false, "normalized": true}})");
  EXPECT_EQ(make().pad(), 0);
  EXPECT_THAT(make().ids("a!"), ElementsAre(4, 0)) << "a special token is never split";
}

TEST_F(TokenizerTest, AddsPseudoWords) {
  Tokenizer tokenizer = make();
  EXPECT_EQ(tokenizer.add_token("<toy>"), 12);
  EXPECT_EQ(tokenizer.add_token("<toy>s"), 13);
  EXPECT_THAT(tokenizer.ids("a<toy>b <toy>s"), ElementsAre(4, 12, 5, 13));
  EXPECT_EQ(tokenizer.id_of("<toy>"), 12);
  EXPECT_ERROR(tokenizer.add_token("<toy>"), core::UsageError, "\"<toy>\" is a token already");
  EXPECT_ERROR(tokenizer.id_of("<dog>"), core::UsageError, "no token \"<dog>\"");
}

TEST_F(TokenizerTest, NamesAMissingFile) {
  std::filesystem::remove(folder_ / "merges.txt");
  EXPECT_ERROR(make(), core::DataError, (folder_ / "merges.txt").string());
  std::filesystem::remove(folder_ / "vocab.json");
  EXPECT_ERROR(make(), core::DataError, (folder_ / "vocab.json").string());
}

TEST_F(TokenizerTest, NamesTheLineOfABrokenMerge) {
  test::put(folder_ / "merges.txt", "#version: 0.2\na b\nabc\n");
  EXPECT_ERROR(make(), core::DataError, "line 3 is not \"LEFT RIGHT\"");
}

TEST_F(TokenizerTest, RefusesIdsWithHoles) {
  test::put(folder_ / "vocab.json", R"({"a": 0, "b": 2})");
  EXPECT_ERROR(make(), core::DataError, "\"b\": the ids are not 0 to 1");
}

TEST_F(TokenizerTest, RefusesOptionsThatChangeIds) {
  test::put(folder_ / "tokenizer_config.json", R"({"padding_side": "left"})");
  EXPECT_ERROR(make(), core::DataError, "\"padding_side\" is \"left\"; only \"right\" is supported");
  test::put(folder_ / "tokenizer_config.json", R"({"bos_token": {"content": "<|startoftext|>", "lstrip": true}})");
  EXPECT_ERROR(make(), core::DataError, "\"lstrip\" is true; only false is supported");
  test::put(folder_ / "tokenizer_config.json", R"({"sentence_pieces": 3})");
  EXPECT_ERROR(make(), core::DataError, "\"sentence_pieces\"");
}

TEST_F(TokenizerTest, RefusesATextWithoutEnd) { EXPECT_ERROR(make().ids(std::string(70000, 'a')), core::UsageError, "70000 bytes"); }

}  // namespace
}  // namespace syncdr::diffusion
