#include "syncdr/io/identity.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::io {
namespace {

struct Inner {
  double rate = 0.5;
  void visit(core::Fields& field) { field(rate, "rate", "a rate"); }
};
struct Outer {
  int64_t steps = 3;
  std::string name = "a \"b\"";
  Inner inner;
  void visit(core::Fields& field) {
    field(steps, "steps", "a number");
    field(name, "name", "a name");
    field.group(inner, "inner", "a group");
  }
};

TEST(Identity, HoldsEachFieldByItsKeyAsToml) {
  Outer config;
  const Identity wanted{{"fit.x.steps", "3"}, {"fit.x.name", "'a \"b\"'"}, {"fit.x.inner.rate", "0.5"}};
  EXPECT_EQ(identity_of(core::visit_of(config), "fit.x"), wanted);
  EXPECT_TRUE(identity_of(core::visit_of(config), "").contains("inner.rate"));
}

TEST(LastName, IsThatOfAFolderHoweverItIsWritten) {
  for (const char* path : {"a/b", "a/b/", "a/b//", "a/b/.", "a/c/../b", "/b", "b"}) EXPECT_EQ(last_name(path), "b") << path;
  EXPECT_EQ(last_name("."), std::filesystem::current_path().filename());
}

TEST(Identity, OfAFileIsTheOneThatWasWritten) {
  const Identity identity{{"a", "1"}, {"empty", ""}, {"odd \"name\"", "x\ny"}};
  EXPECT_EQ(identity_in({{"settings", to_json(identity)}}, "f"), identity);
  EXPECT_ERROR(identity_in({}, "run.json"), core::DataError, "run.json: \"settings\" is missing");
  EXPECT_ERROR(identity_in({{"settings", {{"a", 1}}}}, "run.json"), core::DataError, "\"a\"");
}

TEST(Identity, TheFirstDifferenceIsNamedWithBothValuesAndWhatMayBeDone) {
  const Identity then{{"a", "1"}, {"b", "2"}, {"c", ""}};
  expect_same(then, then, "out/run.json");
  EXPECT_ERROR(expect_same(then, {{"a", "1"}, {"b", "3"}, {"c", "4"}}, "out/run.json"), core::UsageError,
               "out/run.json: was made with b = 2, now it is 3. Set it back, choose another folder, or remove out");
  EXPECT_ERROR(expect_same(then, {{"a", "1"}, {"b", "2"}, {"c", "x"}}, "out/run.json"), core::UsageError, "with c = \"\", now it is x");
  EXPECT_ERROR(expect_same(then, {{"a", "1"}, {"b", "2"}}, "out/run.json", "go home"), core::UsageError,
               "with c = \"\", now it is not set. Set it back, go home,");
  const std::string one(32, 'a'), other(32, '0');
  EXPECT_ERROR(expect_same({{"images", one}}, {{"images", other}}, "out/run.json"), core::UsageError,
               "with other images (hash " + one + ", now it is " + other + "). Set it back");
  EXPECT_ERROR(expect_same({}, then, "out/run.json"), core::UsageError, "with a = not set, now it is 1");
}

}  // namespace
}  // namespace syncdr::io
