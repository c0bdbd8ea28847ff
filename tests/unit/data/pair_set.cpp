#include "syncdr/data/pair_set.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "small_dataset.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

using namespace testing_small;

class PairSetTest : public testing::Test {
 protected:
  void SetUp() override {
    write_dataset(folder_.path());
    dataset_.emplace(folder_.path());
  }
  const Dataset& dataset() const { return *dataset_; }

  TemporaryFolder folder_;
  std::optional<Dataset> dataset_;
};

core::Random draw(uint64_t key) { return core::Random(5, core::Purpose::augmentation, key); }
std::pair<int, int> colour(const Image& image) { return {image.pixels[0], image.pixels[1]}; }
std::pair<int, int> own(const PairSet& set, int64_t entry, uint64_t key = 0) { return colour(set.image(entry, draw(key))); }
std::pair<int, int> other(const PairSet& set, int64_t entry, uint64_t key = 0) { return colour(set.counterpart(entry, draw(key))); }

TEST_F(PairSetTest, EveryRealAndSyntheticImageIsAnInstanceOfItsOwn) {
  // The published code numbered real and synthetic images separately: entry 0 of both shared a memory row and an instance label.
  write_both_runs(dataset(), "cut", 1);
  const PairSet a(dataset(), "a", {"b"}, {{"cut"}}), b(dataset(), "b", {"a"}, {{"cut"}});
  ASSERT_EQ(a.size(), 6 + 4);
  ASSERT_EQ(b.size(), 4 + 6);
  for (const PairSet* set : {&a, &b}) {
    std::set<std::pair<int, int>> pictures;
    for (int64_t entry = 0; entry < set->size(); ++entry) pictures.insert(own(*set, entry));
    EXPECT_EQ(pictures.size(), 10u) << "two entries show the same picture, so an id stands for two or a picture is missing";
  }
}

TEST_F(PairSetTest, RealImagesComeFirstWithTheirTranslationsAsCounterparts) {
  write_both_runs(dataset(), "cut", 1);
  const PairSet set(dataset(), "a", {"b"}, {{"cut"}});
  EXPECT_EQ(set.real_count(), 6);
  for (int64_t entry = 0; entry < 6; ++entry) {
    EXPECT_TRUE(set.is_real(entry));
    EXPECT_EQ(set.key(entry), key_of("a", entry));
    EXPECT_EQ(own(set, entry), std::pair(10, int(entry)));
    EXPECT_EQ(other(set, entry), std::pair(100, int(entry)));
  }
}

TEST_F(PairSetTest, TranslationsFollowWithTheirSourcesAsCounterparts) {
  write_both_runs(dataset(), "cut", 1);
  const PairSet set(dataset(), "a", {"b"}, {{"cut"}});
  for (int64_t source = 0; source < 4; ++source) {
    EXPECT_FALSE(set.is_real(6 + source));
    EXPECT_EQ(set.key(6 + source), key_of("b", source));
    EXPECT_EQ(own(set, 6 + source), std::pair(200, int(source)));
    EXPECT_EQ(other(set, 6 + source), std::pair(20, int(source)));
  }
}

TEST_F(PairSetTest, WithoutARunThereAreRealImagesAlone) {
  const PairSet set(dataset(), "a");
  EXPECT_EQ(set.size(), 6);
  EXPECT_FALSE(set.has_translations());
  for (int64_t entry = 0; entry < 6; ++entry) EXPECT_FALSE(set.has_counterpart(entry));
}

TEST_F(PairSetTest, MissingTranslationIsAnErrorThatSaysHowToMakeIt) {
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "\"cut\" from a to b");
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "syncdr translate");
}

TEST_F(PairSetTest, TranslationOfOneDirectionIsNotEnough) {
  write_run(dataset(), "a", "b", "cut", translations_of(dataset(), "a", 1));
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "\"cut\" from b to a");
}

TEST_F(PairSetTest, UnfinishedTranslationIsAnError) {
  write_both_runs(dataset(), "cut", 1);
  std::filesystem::remove(dataset().synthetic_folder("b", "a", "cut") / "translation.json");
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "not finished");
}

TEST_F(PairSetTest, TranslationThatDoesNotCoverItsSourceIsAnError) {
  write_both_runs(dataset(), "cut", 1);
  auto rows = translations_of(dataset(), "b", 1);
  rows.pop_back();
  write_run(dataset(), "b", "a", "cut", rows);
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "3 translations of 4 images");
}

TEST_F(PairSetTest, TheSameTranslationTwiceIsAnError) {
  write_both_runs(dataset(), "cut", 1);
  auto rows = translations_of(dataset(), "b", 1);
  rows.back().source = rows.front().source;
  write_run(dataset(), "b", "a", "cut", rows);
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "once more");
}

TEST_F(PairSetTest, TranslationOfAnotherImageThanItsRowIsAnError) {
  write_both_runs(dataset(), "cut", 1);
  auto rows = translations_of(dataset(), "b", 1);
  rows[2].source.key = "b/somewhere/else";
  write_run(dataset(), "b", "a", "cut", rows);
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "b/somewhere/else");
}

TEST_F(PairSetTest, TranslationOfARowThatDoesNotExistIsAnError) {
  write_both_runs(dataset(), "cut", 1);
  for (const auto& [shard, row] : {std::pair(1, 0), std::pair(0, 4)}) {
    auto rows = translations_of(dataset(), "b", 1);
    rows[2].source.shard = shard;
    rows[2].source.row = row;
    write_run(dataset(), "b", "a", "cut", rows);
    EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "b/c2/2");
  }
}

TEST_F(PairSetTest, NegativeVariantIsAnError) {
  write_both_runs(dataset(), "cut", 1);
  auto rows = translations_of(dataset(), "b", 1);
  rows[3].source.variant = -1;
  write_run(dataset(), "b", "a", "cut", rows);
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "is variant -1");
}

TEST_F(PairSetTest, TranslationOfAnotherSplitIsAnError) {
  write_both_runs(dataset(), "cut", 1);
  write_run(dataset(), "b", "a", "cut", translations_of(dataset(), "b", 1), "test");
  EXPECT_ERROR(PairSet(dataset(), "a", {"b"}, {{"cut"}}), core::DataError, "the split \"test\"");
}

TEST_F(PairSetTest, VariantsAreOneEntryOfWhichOneIsDrawn) {
  write_both_runs(dataset(), "cut", 3);
  const PairSet set(dataset(), "a", {"b"}, {{"cut"}});
  ASSERT_EQ(set.size(), 10);
  std::map<std::pair<int, int>, int> drawn, counterparts;
  for (uint64_t key = 0; key < 300; ++key) {
    ++drawn[own(set, 7, key)];
    ++counterparts[other(set, 2, key)];
  }
  for (int variant = 0; variant < 3; ++variant) {
    EXPECT_NEAR((drawn[{200 + variant, 1}]), 100, 35);
    EXPECT_NEAR((counterparts[{100 + variant, 2}]), 100, 35);
  }
  EXPECT_EQ(own(set, 7, 9), own(set, 7, 9));
  EXPECT_EQ(other(set, 7), std::pair(20, 1)) << "the source is the counterpart of all its variants";
}

TEST_F(PairSetTest, MayBeToldToUseTheFirstVariantsOnly) {
  write_both_runs(dataset(), "cut", 3);
  const auto with = [&](int64_t variants) { return PairSet(dataset(), "a", {"b"}, {{.run = "cut", .variants = variants}}); };
  const PairSet first = with(1), two = with(2), all = with(9);
  std::set<std::pair<int, int>> of_first, of_two, of_all;
  for (uint64_t key = 0; key < 64; ++key) {
    of_first.insert(other(first, 0, key));
    of_two.insert(other(two, 0, key));
    of_all.insert(other(all, 0, key));
  }
  EXPECT_EQ(of_first.size(), 1U);
  EXPECT_EQ(of_two.size(), 2U);
  EXPECT_EQ(of_all.size(), 3U);
}

TEST_F(PairSetTest, QuarantinedTranslationsAreLeftOutAndTheirSourcesHaveNoCounterpart) {
  auto from_a = translations_of(dataset(), "a", 1), from_b = translations_of(dataset(), "b", 1);
  from_a[4].source.status = 2;
  from_b[1].source.status = 2;
  from_b[2].source.status = 1;  // redrawn once: good
  write_run(dataset(), "a", "b", "cut", from_a);
  write_run(dataset(), "b", "a", "cut", from_b);
  const PairSet set(dataset(), "a", {"b"}, {{"cut"}});
  ASSERT_EQ(set.size(), 6 + 3);
  for (int64_t entry = 0; entry < set.size(); ++entry) EXPECT_EQ(set.has_counterpart(entry), entry != 4);
  EXPECT_EQ(own(set, 7), std::pair(200, 2)) << "the entries after a quarantined one move up";
  EXPECT_EQ(other(set, 7), std::pair(20, 2));
  EXPECT_EQ(set.key(7), key_of("b", 2));
}

TEST_F(PairSetTest, AQuarantinedVariantIsNeverDrawn) {
  auto from_b = translations_of(dataset(), "b", 2);
  from_b[3].source.status = 2;  // variant 1 of picture 1
  write_run(dataset(), "a", "b", "cut", translations_of(dataset(), "a", 2));
  write_run(dataset(), "b", "a", "cut", from_b);
  const PairSet set(dataset(), "a", {"b"}, {{"cut"}});
  ASSERT_EQ(set.size(), 10);
  for (uint64_t key = 0; key < 50; ++key) EXPECT_EQ(own(set, 7, key), std::pair(200, 1));
}

TEST_F(PairSetTest, WhatHasNoWeightIsLeftOutLikeWhatIsQuarantined) {
  write_run(dataset(), "a", "b", "cut", translations_of(dataset(), "a", 1));
  write_run(dataset(), "b", "a", "cut", translations_of(dataset(), "b", 2));
  const auto without = [](std::vector<int64_t> rows, std::vector<int64_t> shape) {
    auto all = at::ones(shape, at::kDouble);
    for (const int64_t row : rows) all.view(-1)[row] = 0;
    return all;
  };
  // Of a's six the fifth; of b's four the first altogether, and the second variant of the second.
  const PairSet set(dataset(), "a", {"b"}, {{.run = "cut", .weights = {{{"a", "b"}, without({4}, {6, 1})}, {{"b", "a"}, without({0, 1, 3}, {4, 2})}}}});
  ASSERT_EQ(set.size(), 6 + 3);
  for (int64_t entry = 0; entry < set.size(); ++entry) EXPECT_EQ(set.has_counterpart(entry), entry != 4);
  EXPECT_EQ(set.key(6), key_of("b", 1));
  for (uint64_t key = 0; key < 50; ++key) EXPECT_EQ(own(set, 6, key), std::pair(200, 1));
  EXPECT_EQ(PairSet(dataset(), "a", {"b"}, {{.run = "cut", .weights = {{{"b", "c"}, without({0}, {4, 2})}}}}).size(), 6 + 4) << "another direction's";
}

TEST_F(PairSetTest, ATranslationBringsTheWeightOfItsPair) {
  write_run(dataset(), "a", "b", "cut", translations_of(dataset(), "a", 1));
  write_run(dataset(), "b", "a", "cut", translations_of(dataset(), "b", 2));
  const at::Tensor of_b = at::arange(1, 9, at::kDouble).view({4, 2}) / 8;  // by row and variant
  const PairSet set(dataset(), "a", {"b"}, {{.run = "cut", .weights = {{{"b", "a"}, of_b}}}});
  EXPECT_TRUE(set.weighted());
  for (uint64_t key = 0; key < 20; ++key) {
    const Place place = set.place(8, draw(key));
    EXPECT_EQ(place.weight, of_b[2][place.shard->source(place.row).variant].item<double>());
  }
  EXPECT_EQ(set.counterpart_place(1, draw(0)).weight, 1) << "another direction's";
  EXPECT_EQ(set.place(1, draw(0)).weight, 1) << "a real image";
  EXPECT_FALSE(PairSet(dataset(), "a", {"b"}, {{.run = "cut", .weights = {{{"b", "a"}, at::ones({4, 2}, at::kDouble)}}}}).weighted());
}

/// How often each colour comes in 1,200 draws.
std::map<std::pair<int, int>, int> counts(const std::function<std::pair<int, int>(uint64_t)>& drawn) {
  std::map<std::pair<int, int>, int> all;
  for (uint64_t key = 0; key < 1200; ++key) ++all[drawn(key)];
  return all;
}

TEST_F(PairSetTest, OfSeveralSetsOneIsDrawnByItsShareThenAVariantUniformly) {
  write_both_runs(dataset(), "cut", 1);
  write_run(dataset(), "a", "b", "filter", translations_of(dataset(), "a", 3, 20));
  write_run(dataset(), "b", "a", "filter", translations_of(dataset(), "b", 3, 20));
  const PairSet set(dataset(), "a", {"b"}, {{.run = "cut", .share = 1}, {.run = "filter", .share = 3, .variants = 2}});
  ASSERT_EQ(set.size(), 10);
  auto drawn = counts([&](uint64_t key) { return own(set, 7, key); }), counterparts = counts([&](uint64_t key) { return other(set, 2, key); });
  EXPECT_EQ(drawn.size(), 3u) << "the third variant was not asked for";
  for (auto* found : {&drawn, &counterparts}) {
    const auto [red, green] = found == &drawn ? std::pair(200, 1) : std::pair(100, 2);
    EXPECT_NEAR((*found)[std::pair(red, green)], 300, 60);  // deviations: 15 and 17
    EXPECT_NEAR((*found)[std::pair(red + 20, green)], 450, 70);
    EXPECT_NEAR((*found)[std::pair(red + 21, green)], 450, 70);
  }
  EXPECT_EQ(other(set, 7), std::pair(20, 1)) << "the source is the counterpart of its translations by all sets";
}

TEST_F(PairSetTest, AnImageThatIsQuarantinedInOneSetIsDrawnFromTheOthers) {
  auto cut = translations_of(dataset(), "b", 1), filter = translations_of(dataset(), "b", 1, 20), from_a = translations_of(dataset(), "a", 1);
  cut[1].source.status = 2;
  cut[2].source.status = filter[2].source.status = 2;
  from_a[4].source.status = 2;
  write_run(dataset(), "a", "b", "cut", from_a);
  write_run(dataset(), "a", "b", "filter", translations_of(dataset(), "a", 1, 20));
  write_run(dataset(), "b", "a", "cut", cut);
  write_run(dataset(), "b", "a", "filter", filter);
  const PairSet set(dataset(), "a", {"b"}, {{"cut"}, {"filter"}});
  ASSERT_EQ(set.size(), 6 + 3) << "picture b/2 is in no set";
  EXPECT_EQ(set.key(8), key_of("b", 3));
  for (int64_t entry = 0; entry < set.size(); ++entry) EXPECT_TRUE(set.has_counterpart(entry)) << entry;
  EXPECT_EQ(counts([&](uint64_t key) { return own(set, 7, key); }).size(), 1u);
  EXPECT_EQ(own(set, 7), std::pair(220, 1));
  EXPECT_EQ(other(set, 4), std::pair(120, 4));
  EXPECT_EQ(counts([&](uint64_t key) { return own(set, 6, key); }).size(), 2u);
}

TEST_F(PairSetTest, OneSetIsDrawnFromAsIfThereWereNoShares) {
  write_both_runs(dataset(), "cut", 3);
  const PairSet set(dataset(), "a", {"b"}, {{.run = "cut", .share = 0.25}});
  for (uint64_t key = 0; key < 20; ++key) {
    core::Random random = draw(key);
    EXPECT_EQ(own(set, 7, key), std::pair(200 + static_cast<int>(random.below(3)), 1)) << "another number was drawn before the variant's";
  }
}

class ThreeDomains : public PairSetTest {
 protected:
  void SetUp() override {
    write_dataset(folder_.path(), /*third=*/true);
    dataset_.emplace(folder_.path());
    for (const std::string source : {"a", "b", "c"})
      for (const std::string target : {"a", "b", "c"})
        if (source != target) write_run(dataset(), source, target, "cut", translations_of(dataset(), source, 1, target == "c" ? 5 : 0));
  }
};

TEST_F(ThreeDomains, TranslationsOfAllOthersFollowInTheirOrderWithTheirSourcesAsCounterparts) {
  const PairSet b(dataset(), "b", {"a", "c"}, {{"cut"}});
  ASSERT_EQ(b.size(), 4 + 6 + 5);
  std::set<std::pair<int, int>> pictures;
  for (int64_t entry = 0; entry < b.size(); ++entry) pictures.insert(own(b, entry));
  EXPECT_EQ(pictures.size(), 15u);
  for (int row = 0; row < 6; ++row) {
    EXPECT_EQ(b.key(4 + row), key_of("a", row));
    EXPECT_EQ(own(b, 4 + row), std::pair(100, row));
    EXPECT_EQ(other(b, 4 + row), std::pair(10, row));
  }
  for (int row = 0; row < 5; ++row) {
    EXPECT_EQ(b.key(10 + row), key_of("c", row));
    EXPECT_EQ(own(b, 10 + row), std::pair(150, row));
    EXPECT_EQ(other(b, 10 + row), std::pair(30, row));
  }
}

TEST_F(ThreeDomains, TheCounterpartOfARealImageIsInEachOtherDomainEquallyOften) {
  const PairSet a(dataset(), "a", {"b", "c"}, {{"cut"}});
  auto drawn = counts([&](uint64_t key) { return other(a, 3, key); });
  EXPECT_EQ(drawn.size(), 2u);
  EXPECT_NEAR((drawn[{100, 3}]), 600, 80);  // in b's look; deviation: 17
  EXPECT_NEAR((drawn[{105, 3}]), 600, 80);  // in c's
}

TEST_F(ThreeDomains, ARealImageWithATranslationIntoOneOtherDomainAloneHasItAsCounterpart) {
  auto into_b = translations_of(dataset(), "a", 1), into_c = translations_of(dataset(), "a", 1, 5);
  into_b[1].source.status = into_b[2].source.status = into_c[2].source.status = 2;
  write_run(dataset(), "a", "b", "cut", into_b);
  write_run(dataset(), "a", "c", "cut", into_c);
  const PairSet a(dataset(), "a", {"b", "c"}, {{"cut"}});
  EXPECT_EQ(counts([&](uint64_t key) { return other(a, 1, key); }), (std::map<std::pair<int, int>, int>{{{105, 1}, 1200}}));
  EXPECT_FALSE(a.has_counterpart(2));
}

TEST_F(ThreeDomains, DrawsOfTheirSetsAreToldApart) {
  const PairSet a(dataset(), "a", {"b", "c"}, {{"cut"}}), b(dataset(), "b", {"a", "c"}, {{"cut"}}), two(dataset(), "a", {"b"}, {{"cut"}});
  EXPECT_EQ(two.salt(), 0u);
  EXPECT_NE(a.salt(), b.salt());
  EXPECT_EQ(a.salt() % 4, 0u) << "the lowest bits tell an image's four roles apart";
}

}  // namespace
}  // namespace syncdr::data
