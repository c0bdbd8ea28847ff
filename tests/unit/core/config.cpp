#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "syncdr/core/config.h"
#include "syncdr/core/error.h"

namespace syncdr::core {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Inner {
  double rate = 0.1;
  std::vector<int64_t> layers = {0, 4};

  void visit(Fields& field) {
    field(rate, "rate", "how fast", above(0));
    field(layers, "layers", "which layers", at_least(0));
  }
};

struct Part {
  std::string file;
  double scale = 1;
  std::vector<int64_t> layers;

  void visit(Fields& field) {
    field(file, "file", "where it lies");
    field(scale, "scale", "how much of it", above(0));
    field(layers, "layers", "which layers");
  }
};

struct Outer {
  bool on = false;
  int64_t epochs = 15;
  std::string name = "a \"quoted\" name";
  std::vector<std::string> arms = {"cds"};
  std::vector<double> betas = {0.5, 0.999};
  Inner inner;
  std::vector<Part> parts;

  void visit(Fields& field) {
    field(on, "on", "whether");
    field(epochs, "epochs", "passes", between(1, 100));
    field(name, "name", "what it is called");
    field(arms, "arms", "rows", {"cds", "cut"});
    field.group(inner, "inner", "a part");
    field(betas, "betas", "decays", between(0, 1));
    field.list(parts, "parts", "what is added");
  }
};

Outer parsed(const std::string& text) {
  Outer outer;
  read_config_text(visit_of(outer), text, "test.toml");
  return outer;
}

Outer with_sets(const std::vector<std::string>& sets) {
  Outer outer;
  read_config(visit_of(outer), {}, sets);
  return outer;
}

TEST(Config, ReadsFieldsOfEveryTypeAndKeepsOtherDefaults) {
  const auto outer = parsed("on = true\nepochs = 3\narms = [\"cut\", \"cds\"]\n[inner]\nrate = 2\nlayers = [1]\n");
  EXPECT_TRUE(outer.on);
  EXPECT_EQ(outer.epochs, 3);
  EXPECT_EQ(outer.arms, (std::vector<std::string>{"cut", "cds"}));
  EXPECT_EQ(outer.inner.rate, 2.0);  // a whole number is a number
  EXPECT_EQ(outer.inner.layers, std::vector<int64_t>{1});
  EXPECT_EQ(outer.betas, (std::vector<double>{0.5, 0.999}));
}

TEST(Config, WhatItWritesReadsBackUnchanged) {
  Outer outer;
  outer.inner.rate = 1.0 / 3.0;
  outer.betas = {1.0, 1e-7};
  outer.name = "tab\t, \"quotes\" and \\ backslash";
  const auto text = write_config(visit_of(outer));
  auto again = parsed(text);
  EXPECT_EQ(write_config(visit_of(again)), text);
  EXPECT_EQ(again.inner.rate, outer.inner.rate);
  EXPECT_EQ(again.name, outer.name);
}

TEST(Config, SetOverridesTheFileAndTakesBareWords) {
  const auto outer = with_sets({"inner.rate=0.5", "name=hello", "epochs=7", "arms=[\"cut\"]"});
  EXPECT_EQ(outer.inner.rate, 0.5);
  EXPECT_EQ(outer.name, "hello");
  EXPECT_EQ(outer.epochs, 7);
  EXPECT_EQ(outer.arms, std::vector<std::string>{"cut"});
}

TEST(Config, AListOfStructsIsReadFromTablesAndWrittenBack) {
  const auto text = "parts = [{file = 'a b', scale = 0.5, layers = [1, 2]}, {file = \"c\"}]";
  auto outer = parsed(text);
  ASSERT_EQ(outer.parts.size(), 2U);
  EXPECT_EQ(outer.parts[0].file, "a b");
  EXPECT_EQ(outer.parts[0].scale, 0.5);
  EXPECT_EQ(outer.parts[0].layers, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(outer.parts[1].file, "c");
  EXPECT_EQ(outer.parts[1].scale, 1);
  EXPECT_EQ(with_sets({text}).parts[0].file, "a b");
  EXPECT_TRUE(with_sets({text, "parts=[]"}).parts.empty());
  EXPECT_EQ(parsed("[[parts]]\nfile = 'd'\n[[parts]]\n").parts.size(), 2U);
  const auto written = write_config(visit_of(outer));
  EXPECT_THAT(written, HasSubstr("parts = [{file = 'a b', scale = 0.5, layers = [1, 2]}, {file = 'c', scale = 1.0, layers = []}]"));
  auto again = parsed(written);
  EXPECT_EQ(write_config(visit_of(again)), written);
}

TEST(Config, AListOfStructsThatIsWrongIsRefusedWithThePlace) {
  const char* form = "it must be a list, as in [{file = '', scale = 1.0, layers = []}]";
  EXPECT_THAT([] { parsed("parts = \"a\""); }, ThrowsMessage<UsageError>(HasSubstr(form)));
  EXPECT_THAT([] { parsed("parts = [\"a\"]"); }, ThrowsMessage<UsageError>(HasSubstr(form)));
  EXPECT_THAT([] { parsed("parts = {file = \"a\"}"); }, ThrowsMessage<UsageError>(HasSubstr(form)));
  EXPECT_THAT([] { with_sets({"parts=a.safetensors"}); }, ThrowsMessage<UsageError>(HasSubstr(form)));
  EXPECT_THAT([] { parsed("parts = [{}, {scale = 0}]"); }, ThrowsMessage<UsageError>(HasSubstr("test.toml: parts[1]: scale = 0 is out of range")));
  EXPECT_THAT([] { parsed("parts = [{fil = 'a'}]"); }, ThrowsMessage<UsageError>(HasSubstr("parts[0]: unknown key \"fil\". Did you mean \"file\"?")));
}

TEST(Config, AnUnknownKeyIsRefusedAndOneThatIsNearNamed) {
  EXPECT_THAT([] { parsed("epoch = 3"); }, ThrowsMessage<UsageError>(HasSubstr("test.toml: unknown key \"epoch\". Did you mean \"epochs\"?")));
  EXPECT_THAT([] { parsed("[inner]\nrat = 3"); }, ThrowsMessage<UsageError>(HasSubstr("\"inner.rate\"")));
  EXPECT_THAT([] { with_sets({"outer.rate=1"}); }, ThrowsMessage<UsageError>(HasSubstr("unknown key \"outer")));
  EXPECT_THAT([] { parsed("teacher = 3"); }, ThrowsMessage<UsageError>("test.toml: unknown key \"teacher\"."));
}

TEST(Config, AWrongTypeOrValueIsRefusedWithWhatItMustBe) {
  EXPECT_THAT([] { parsed("epochs = \"many\""); }, ThrowsMessage<UsageError>(HasSubstr("epochs = 'many' is wrong: it must be a whole number")));
  EXPECT_THAT([] { parsed("epochs = 1.5"); }, ThrowsMessage<UsageError>(HasSubstr("a whole number")));
  EXPECT_THAT([] { parsed("epochs = 0"); }, ThrowsMessage<UsageError>(HasSubstr("epochs = 0 is out of range: it must be 1 to 100")));
  EXPECT_THAT([] { parsed("[inner]\nrate = 0"); }, ThrowsMessage<UsageError>(HasSubstr("above 0")));
  EXPECT_THAT([] { parsed("[inner]\nrate = nan"); }, ThrowsMessage<UsageError>(HasSubstr("a number")));
  EXPECT_THAT([] { parsed("arms = [\"other\"]"); }, ThrowsMessage<UsageError>(HasSubstr("one of cds, cut")));
  EXPECT_THAT([] { parsed("arms = \"cds\""); }, ThrowsMessage<UsageError>(HasSubstr("a list")));
  EXPECT_THAT([] { parsed("inner = 3"); }, ThrowsMessage<UsageError>(HasSubstr("unknown key \"inner\"")));
}

TEST(Config, ASyntaxErrorNamesItsLine) {
  EXPECT_THAT([] { parsed("on = true\nepochs = = 3\n"); }, ThrowsMessage<UsageError>(HasSubstr("test.toml: line 2:")));
  EXPECT_THAT(
      [] {
        Outer outer;
        read_config(visit_of(outer), "/nowhere/x.toml", {});
      },
      ThrowsMessage<UsageError>(HasSubstr("/nowhere/x.toml: there is no such")));
  EXPECT_THAT([] { with_sets({"epochs"}); }, ThrowsMessage<UsageError>(HasSubstr("key=value")));
}

TEST(Config, TheDescriptionListsEveryKeyWithRangeAndDefault) {
  Outer outer;
  const auto text = describe_config(visit_of(outer));
  EXPECT_THAT(text, HasSubstr("inner.rate"));
  EXPECT_THAT(text, HasSubstr("passes (1 to 100) [15]"));
  EXPECT_THAT(text, HasSubstr("(cds | cut)"));
  EXPECT_THAT(text, HasSubstr("\n[inner] a part\n  inner.rate"));
}

}  // namespace
}  // namespace syncdr::core
