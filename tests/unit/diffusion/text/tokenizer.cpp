#include "syncdr/diffusion/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <functional>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "text/clip_words.h"

namespace syncdr::diffusion {
namespace {

namespace json = boost::json;
using testing::ElementsAre;

TEST(ClipWords, CleansAsThePythonOriginal) {
  const auto clean = [](std::string_view text) { return clean_text(text, WordRules::python); };
  EXPECT_EQ(clean("A\tB\r\nC\u00A0D"), "a b  c d");
  EXPECT_EQ(clean("x\u200By\az\xFFw"), "xyzw");       // zero-width space, bell, no UTF-8
  EXPECT_EQ(clean("E\u0301\u1E9E"), "\u00E9\u00DF");  // composed; the capital sharp s
  EXPECT_EQ(clean("a\u6F22b"), "a \u6F22 b");         // an ideograph stands alone
  EXPECT_EQ(clean("\u039F\u03A3"), "\u03BF\u03C2");   // a sigma that ends a word
}

TEST(ClipWords, CleansAsTheLibrary) {
  const auto clean = [](std::string_view text) { return clean_text(text, WordRules::library); };
  EXPECT_EQ(clean("A\tB\r\nC\u00A0\u2003D"), "a b c d");
  EXPECT_EQ(clean("x\u200By\az\xFFw"), "x\u200By\az\uFFFDw");
  EXPECT_EQ(clean("E\u0301\u1E9E"), "\u00E9\u00DF");
  EXPECT_EQ(clean("a\u6F22b"), "a\u6F22b");
  EXPECT_EQ(clean("\u039F\u03A3"), "\u03BF\u03C3");
  EXPECT_EQ(clean("\u0130"), "i\u0307");
}

TEST(ClipWords, SplitsByThePattern) {
  const auto split = [](std::string_view text) { return split_words(text, WordRules::python); };
  EXPECT_THAT(split("it's 42 caf\u00E9!?"), ElementsAre("it", "'s", "4", "2", "caf\u00E9", "!?"));
  EXPECT_THAT(split("a!'s"), ElementsAre("a", "!'", "s"));  // a run of signs takes the apostrophe
  EXPECT_THAT(split("'\u017F <|endoftext|>"), ElementsAre("'\u017F", "<|endoftext|>"));
  EXPECT_THAT(split("  "), ElementsAre());
  EXPECT_THAT(split("a\u0345b"), ElementsAre("a", "b"));  // the original's pattern passes over the iota subscript
}

TEST(ClipWords, SplitsByTheLibrarysPatterns) {
  EXPECT_THAT(split_words("it's '\u017F", WordRules::library), ElementsAre("it", "'s", "'", "\u017F"));
  EXPECT_THAT(split_words("a\u0345b", WordRules::library), ElementsAre("a", "\u0345", "b"));
  EXPECT_THAT(split_words("<|endoftext|>!", WordRules::library), ElementsAre("<|", "endoftext", "|>!"));
  EXPECT_THAT(split_words("<|endoftext|>!", WordRules::library_marked), ElementsAre("<|", "endoftext", "|>", "!"));
  EXPECT_THAT(split_words("!<|endoftext|>", WordRules::library_marked), ElementsAre("!<|", "endoftext", "|>"));
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
  EXPECT_THAT(std::vector<int64_t>(encoded.const_data_ptr<int64_t>(), encoded.const_data_ptr<int64_t>() + 10), ElementsAre(10, 4, 11, 0, 0, 10, 4, 4, 5, 11));
}

TEST_F(TokenizerTest, TakesSpecialTokensOfTheOlderFile) {
  EXPECT_EQ(make().pad(), 11);
  EXPECT_EQ(make().length(), 77);
  test::put(folder_ / "special_tokens_map.json", R"({"pad_token": "!", "bos_token": {"content": "<|startoftext|>", "lstrip": false, "normalized": true}})");
  EXPECT_EQ(make().pad(), 0);
  EXPECT_THAT(make().ids("a!"), ElementsAre(4, 0)) << "a special token is never split";
}

TEST_F(TokenizerTest, AddsPseudoWords) {
  Tokenizer tokenizer = make();
  EXPECT_EQ(tokenizer.add_token("<toy>"), 12);
  EXPECT_EQ(tokenizer.add_token("<toy>s"), 13);
  EXPECT_THAT(tokenizer.ids("a<toy>b <toy>s"), ElementsAre(4, 12, 5, 13));
  EXPECT_ERROR(tokenizer.add_token("<toy>"), core::UsageError, "\"<toy>\" is a token already");
}

// Textual inversion in several vectors: the pipelines of diffusers write "<toy>" as "<toy> <toy>_1 <toy>_2" where the tokenizer has these.
TEST_F(TokenizerTest, APseudoWordStandsForAllItsVectors) {
  test::put(folder_ / "tokenizer_config.json", R"({"model_max_length": 7, "tokenizer_class": "CLIPTokenizer"})");
  Tokenizer tokenizer = make();
  for (const char* token : {"<toy>", "<toy>_1", "<toy>_3", "<toy>_2", "<cat>"}) tokenizer.add_token(token);
  const auto encoded = [&](const std::string& text) {
    const at::Tensor ids = tokenizer.encode({text});
    return std::vector<int64_t>(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + 7);
  };
  EXPECT_THAT(tokenizer.ids("<toy> a"), ElementsAre(12, 4));
  EXPECT_THAT(encoded("<toy> a"), ElementsAre(10, 12, 13, 15, 14, 4, 11));
  EXPECT_THAT(encoded("<cat> <toy>_3"), ElementsAre(10, 16, 14, 11, 11, 11, 11));
  EXPECT_EQ(tokenizer.cut_from("a <toy> b c"), "b c");
}

TEST_F(TokenizerTest, PseudoWordsOfManyVectorsMakeNoTextOfAnyLength) {
  Tokenizer tokenizer = make();
  tokenizer.add_token("<a>");
  for (int vector = 1; vector <= 1000; ++vector) tokenizer.add_token(fmt::format("<a>_{}", vector));
  std::string text;
  for (int i = 0; i < 10'000; ++i) text += "<a>";
  EXPECT_ERROR(tokenizer.encode({text}), core::DataError, "is longer than any prompt");
}

TEST_F(TokenizerTest, OfTheFastClassNeedsTheFileThatThisReads) {
  EXPECT_ERROR(Tokenizer(folder_.path(), /*by_library=*/true), core::DataError, "tokenizer.json: is not there, and the checkpoint names CLIPTokenizerFast");
}

TEST_F(TokenizerTest, RefusesMergesThatWereCutShort) {
  test::put(folder_ / "merges.txt", "#version: 0.2\na b\n");
  EXPECT_ERROR(make(), core::DataError, "merges.txt: makes all but 1 of the 12 tokens of vocab.json: it was cut short");
  std::filesystem::remove(folder_ / "merges.txt");
  EXPECT_ERROR(make(), core::DataError, "merges.txt: is not there. Download");
}

TEST_F(TokenizerTest, SaysWhatLiesInPlaceOfTheMerges) {
  test::put(folder_ / "merges.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 524619\n");
  EXPECT_ERROR(make(), core::DataError, "merges.txt: is a Git LFS pointer");
}

TEST_F(TokenizerTest, SpellsWhatItCuts) {
  test::put(folder_ / "tokenizer_config.json", R"({"model_max_length": 5, "tokenizer_class": "CLIPTokenizer"})");
  Tokenizer tokenizer = make();
  tokenizer.add_token("<toy>");
  EXPECT_EQ(tokenizer.cut_from("A ABC b"), "");
  EXPECT_EQ(tokenizer.cut_from("A ABC b ABA <toy> c"), "aba <toy> c");
}

/// The same vocabulary as transformers 5 writes it.
class TokenizerJson : public TokenizerTest {
 protected:
  TokenizerJson() {
    const std::string older = io::read_file(folder_ / "vocab.json", 4096);
    std::filesystem::remove(folder_ / "vocab.json");
    std::filesystem::remove(folder_ / "merges.txt");
    content_ = json::parse(R"({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 10, "content": "<|startoftext|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
                         {"id": 11, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                                                           {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},
             "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 11], "cls": ["<|startoftext|>", 10], "trim_offsets": false,
                           "add_prefix_space": false},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
                  "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "merges": [["a", "b"], ["ab", "c</w>"]]}})")
                   .as_object();
    content_["model"].as_object()["vocab"] = json::parse(older);
    test::put(folder_ / "tokenizer_config.json", R"({"backend": "tokenizers", "is_local": true, "local_files_only": false, "model_max_length": 6,
        "extra_special_tokens": [], "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer"})");
  }
  Tokenizer make() {
    test::put(folder_ / "tokenizer.json", json::serialize(content_));
    return TokenizerTest::make();
  }
  json::object& part(const char* name) { return content_[name].as_object(); }

  json::object content_;
};

TEST_F(TokenizerJson, IsReadAlone) {
  const Tokenizer tokenizer = make();
  EXPECT_THAT(tokenizer.ids("abc ABA c"), ElementsAre(8, 7, 4, 6));
  EXPECT_EQ(tokenizer.length(), 6);
  EXPECT_EQ(tokenizer.size(), 12);
}

TEST_F(TokenizerJson, CountsBesideOlderFilesForTheFastClass) {
  test::put(folder_ / "tokenizer_config.json", R"({"model_max_length": 6, "tokenizer_class": "CLIPTokenizerFast"})");
  test::put(folder_ / "vocab.json", R"({"!": 0, "a": 1, "b": 2, "c": 3, "b</w>": 4, "a</w>": 5, "c</w>": 6, "ab": 7, "abc</w>": 8, "!</w>": 9,
                                       "<|startoftext|>": 10, "<|endoftext|>": 11})");
  test::put(folder_ / "merges.txt", "#version: 0.2\na b\nab c</w>\n");
  EXPECT_THAT(make().ids("a"), ElementsAre(5));
  EXPECT_THAT(Tokenizer(folder_.path(), /*by_library=*/true).ids("a"), ElementsAre(4));
}

TEST_F(TokenizerJson, HasMergesOfOlderVersionsToo) {
  part("model")["merges"] = json::array{"a b", "ab c</w>"};
  EXPECT_THAT(make().ids("abc"), ElementsAre(8));
}

TEST_F(TokenizerJson, NormalizedTokensAreSoughtInCleanText) {
  EXPECT_EQ(make().ids("<|ENDOFTEXT|>").size(), 13U) << "by its letters";
  content_["added_tokens"].as_array()[1].as_object()["normalized"] = true;
  EXPECT_THAT(make().ids("a<|ENDOFTEXT|>"), ElementsAre(4, 11));
  Tokenizer tokenizer = make();
  tokenizer.add_token("<Toy>");
  EXPECT_THAT(tokenizer.ids("a<TOY>"), ElementsAre(4, 12));
  EXPECT_ERROR(tokenizer.add_token("<tOy>"), core::UsageError, "\"<tOy>\" is in lower case the same as another added token");
  EXPECT_EQ(tokenizer.add_token("<toys>"), 13);
}

TEST_F(TokenizerJson, APseudoWordWithCapitalsHasItsFirstVectorAlone) {
  Tokenizer tokenizer = make();
  for (const char* token : {"<Toy>", "<Toy>_1", "<cat>", "<cat>_1"}) tokenizer.add_token(token);
  const at::Tensor ids = tokenizer.encode({"<Toy> <cat>"});
  EXPECT_THAT(std::vector<int64_t>(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + 6), ElementsAre(10, 12, 14, 15, 11, 11));
}

TEST_F(TokenizerJson, RefusesAddedTokensThatReadTheSame) {
  for (int64_t id = 12; id < 14; ++id)
    content_["added_tokens"].as_array().push_back({{"id", id}, {"content", id == 12 ? "<Toy>" : "<toy>"}, {"normalized", true}});
  EXPECT_ERROR(make(), core::DataError, "the added token \"<toy>\" is in lower case the same");
}

TEST_F(TokenizerJson, ExtraSpecialTokensAreAList) {
  test::put(folder_ / "tokenizer_config.json", R"({"extra_special_tokens": ["<toy>"]})");
  EXPECT_THAT(make().ids("a<toy>"), ElementsAre(4, 12));
}

TEST_F(TokenizerJson, CountsBesideOlderFilesIfTheLibraryWroteTheFolder) {
  test::put(folder_ / "vocab.json", R"({"z": 0})");
  test::put(folder_ / "merges.txt", "#version: 0.2\n");
  EXPECT_EQ(make().size(), 12);
  std::filesystem::remove(folder_ / "tokenizer_config.json");
  // vocab.json counts now, to which the added tokens do not fit.
  EXPECT_ERROR(make(), core::DataError, "the ids of vocabulary and added tokens are not 0 to 2");
}

TEST_F(TokenizerJson, RefusesOtherKindsByName) {
  const json::object sound = content_;
  const auto refused = [&](const char* name, const char* message, const std::function<void(json::object&)>& spoil) {
    content_ = sound;
    spoil(part(name));
    EXPECT_ERROR(make(), core::DataError, message);
    EXPECT_ERROR(make(), core::DataError, "Save the tokenizer again");
  };
  const auto step = [](json::object& part, const char* list, size_t i) -> json::object& { return part[list].as_array()[i].as_object(); };
  refused("normalizer", R"("normalizer" has {"type":"NFKC"} where CLIP's has {"type":"NFC"})",
          [&](json::object& part) { step(part, "normalizers", 0)["type"] = "NFKC"; });
  refused("normalizer", R"("normalizer" has nothing where CLIP's has {"type":"Lowercase"})",
          [&](json::object& part) { part["normalizers"].as_array().pop_back(); });
  refused("normalizer", R"("normalizer" has {"type":"BertNormalizer"})", [&](json::object& part) { part = {{"type", "BertNormalizer"}}; });
  refused("pre_tokenizer", R"("pre_tokenizer" has {"type":"Split","pattern":{"Regex":"\\w+"})",
          [&](json::object& part) { step(part, "pretokenizers", 0)["pattern"].as_object()["Regex"] = "\\w+"; });
  refused("pre_tokenizer", R"("use_regex":false)", [&](json::object& part) { step(part, "pretokenizers", 1)["use_regex"] = false; });
  refused("model", R"("type" is "WordPiece"; CLIP's is "BPE")", [&](json::object& part) { part["type"] = "WordPiece"; });
  refused("model", R"("byte_fallback" is true; CLIP's is false)", [&](json::object& part) { part["byte_fallback"] = true; });
  refused("model", R"("unk_token" is "a")", [&](json::object& part) { part["unk_token"] = "a"; });
  refused("model", R"("end_of_word_suffix" is missing)", [&](json::object& part) { part.erase("end_of_word_suffix"); });
  refused("model", R"("merges" 0, "ab c</w>", joins symbols that are not there yet)",
          [&](json::object& part) { part["merges"] = json::array{{"ab", "c</w>"}}; });
  refused("post_processor", R"("post_processor" is {"type":"TemplateProcessing")", [&](json::object& part) { part["type"] = "TemplateProcessing"; });
  content_ = sound;
  content_["padding"] = {{"direction", "Left"}};
  EXPECT_ERROR(make(), core::DataError, R"("padding" is {"direction":"Left"})");
  content_ = sound;
  content_["rules"] = 3;
  EXPECT_ERROR(make(), core::DataError, R"("rules" (3) is not known)");
  content_ = sound;
  part("model")["merges"] = json::array{"ab"};
  EXPECT_ERROR(make(), core::DataError, "merge 0 is not a left and a right symbol");
  content_ = sound;
  content_["added_tokens"].as_array()[0].as_object()["id"] = 3;
  EXPECT_ERROR(make(), core::DataError, "\"<|startoftext|>\" has id 3; elsewhere in this folder it has 10");
}

TEST_F(TokenizerTest, NamesAMissingFile) {
  std::filesystem::remove(folder_ / "merges.txt");
  EXPECT_ERROR(make(), core::DataError, (folder_ / "merges.txt").string());
  std::filesystem::remove(folder_ / "vocab.json");
  EXPECT_ERROR(make(), core::DataError, (folder_ / "vocab.json").string() + ": is not there, and tokenizer.json is not either");
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

TEST_F(TokenizerTest, RefusesATextWithoutEnd) { EXPECT_ERROR(make().ids(std::string(70000, 'a')), core::DataError, "70000 bytes"); }

}  // namespace
}  // namespace syncdr::diffusion
