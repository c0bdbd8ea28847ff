#include "syncdr/data/loader.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>

#include "small_dataset.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

using namespace testing_small;

// Prefetcher

TEST(Prefetcher, DeliversInOrderWhateverTheThreadsDo) {
  for (const int64_t threads : {0, 1, 4}) {
    // Odd steps are slow, so that with several threads later steps are ready first.
    Prefetcher<int64_t> batches(
        [](int64_t step) {
          if (step % 2 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(3));
          return step * step;
        },
        5, 40, threads);
    for (int64_t step = 5; step < 40; ++step) {
      ASSERT_FALSE(batches.done());
      ASSERT_EQ(batches.next(), step * step) << threads << " threads";
    }
    EXPECT_TRUE(batches.done());
  }
}

TEST(Prefetcher, AnErrorIsThrownByTheStepThatMeetsItAndNotBefore) {
  for (const int64_t threads : {0, 2}) {
    Prefetcher<int64_t> batches(
        [](int64_t step) {
          if (step == 3) throw core::DataError("step {} is bad", step);
          return step;
        },
        0, 6, threads);
    for (int64_t step = 0; step < 3; ++step) EXPECT_EQ(batches.next(), step);
    EXPECT_THROW(batches.next(), core::DataError);
    EXPECT_EQ(batches.next(), 4);
  }
}

TEST(Prefetcher, MakesNoMoreThanDepthBatchesAhead) {
  std::atomic<int64_t> made{0};
  Prefetcher<int64_t> batches([&](int64_t step) { return ++made, step; }, 0, 100, 3, 4);
  for (int64_t taken = 0; taken < 5; ++taken) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(made, taken + 4);
    batches.next();
  }
}

TEST(Prefetcher, EndsWithBatchesThatNobodyTook) {
  std::atomic<int64_t> made{0};
  {
    Prefetcher<int64_t> batches([&](int64_t step) { return ++made, step; }, 0, 1000, 2);
  }
  EXPECT_LE(made, 6);
}

// BatchOrder

std::vector<int64_t> epoch_of(const BatchOrder& order, int64_t batch, int64_t epoch) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < order.batches_per_epoch(); ++i) {
    const auto entries = order.entries(epoch, i, 0, batch);
    all.insert(all.end(), entries.begin(), entries.end());
  }
  return all;
}

TEST(BatchOrder, AnEpochIsAPermutation) {
  for (const int64_t size : {1, 2, 3, 5, 16, 17, 570, 1024, 4097}) {
    auto all = epoch_of(BatchOrder(size, 1, 7, 0), 1, 2);
    std::sort(all.begin(), all.end());
    std::vector<int64_t> expected(static_cast<size_t>(size));
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(all, expected) << size;
  }
}

TEST(BatchOrder, DependsOnSeedStreamAndEpoch) {
  const auto base = epoch_of(BatchOrder(100, 10, 1, 0), 10, 0);
  EXPECT_EQ(base, epoch_of(BatchOrder(100, 10, 1, 0), 10, 0));
  EXPECT_NE(base, epoch_of(BatchOrder(100, 10, 2, 0), 10, 0));
  EXPECT_NE(base, epoch_of(BatchOrder(100, 10, 1, 1), 10, 0));
  EXPECT_NE(base, epoch_of(BatchOrder(100, 10, 1, 0), 10, 1));
}

TEST(BatchOrder, SlicesOfRanksMakeUpTheGlobalBatch) {
  const BatchOrder order(103, 10, 1, 0);
  EXPECT_EQ(order.batches_per_epoch(), 10);
  const auto whole = order.entries(3, 4, 0, 10);
  auto slices = order.entries(3, 4, 0, 3);
  const auto rest = order.entries(3, 4, 3, 10);
  slices.insert(slices.end(), rest.begin(), rest.end());
  EXPECT_EQ(slices, whole);
}

TEST(BatchOrder, EveryPairOfPlacesIsEquallyLikely) {
  // Where entries 0 and 1 of five fall over many epochs: 20 pairs of places, each 500 times expected.
  const BatchOrder order(5, 5, 11, 0);
  std::map<std::pair<int64_t, int64_t>, int> count;
  for (int64_t epoch = 0; epoch < 10'000; ++epoch) {
    const auto entries = order.entries(epoch, 0, 0, 5);
    ++count[{std::find(entries.begin(), entries.end(), 0) - entries.begin(), std::find(entries.begin(), entries.end(), 1) - entries.begin()}];
  }
  ASSERT_EQ(count.size(), 20u);
  double chi_square = 0;
  for (const auto& [places, times] : count) chi_square += (times - 500.0) * (times - 500.0) / 500;
  EXPECT_LT(chi_square, 43.8) << "19 degrees of freedom: one in a thousand";
}

TEST(BatchOrder, ABatchLargerThanTheSetIsAUsageError) {
  EXPECT_THROW(BatchOrder(9, 10, 0, 0), core::UsageError);
  EXPECT_THROW(BatchOrder(9, 0, 0, 0), core::UsageError);
}

// load_pairs, load_evaluation

class LoadTest : public testing::Test {
 protected:
  void SetUp() override {
    write_dataset(folder_.path());
    dataset_.emplace(folder_.path());
    config_.resize = 8, config_.crop = 6;
  }
  const Dataset& dataset() const { return *dataset_; }

  TemporaryFolder folder_;
  std::optional<Dataset> dataset_;
  AugmentConfig config_;
};

/// Red and green of an image of a batch: these pictures have one colour.
std::pair<int, int> colour(const at::Tensor& images, int64_t index) { return {images[index][0][2][3].item<int>(), images[index][1][2][3].item<int>()}; }

TEST_F(LoadTest, PairsLieSideBySideInChannelsLast) {
  write_both_runs(dataset(), "cut", 1);
  const PairSet set(dataset(), "a", {"b"}, {{"cut"}});
  const PairBatch batch = load_pairs(set, {7, 0, 5}, config_, 1, 0);
  EXPECT_EQ(batch.images.sizes(), (std::vector<int64_t>{3, 3, 6, 6}));
  EXPECT_EQ(batch.counterparts.sizes(), batch.images.sizes());
  EXPECT_EQ(batch.images.scalar_type(), at::kByte);
  EXPECT_TRUE(batch.images.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(batch.counterparts.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(batch.has_counterpart.all().item<bool>());
  EXPECT_TRUE(at::equal(batch.ids, at::tensor({7, 0, 5}, at::kLong)));
  EXPECT_EQ(colour(batch.images, 0), std::pair(200, 1));
  EXPECT_EQ(colour(batch.counterparts, 0), std::pair(20, 1));
  EXPECT_EQ(colour(batch.images, 2), std::pair(10, 5));
  EXPECT_EQ(colour(batch.counterparts, 2), std::pair(100, 5));
}

TEST_F(LoadTest, WithoutARunThereAreNoCounterparts) {
  const PairBatch batch = load_pairs(PairSet(dataset(), "a"), {1, 2}, config_, 1, 0);
  EXPECT_FALSE(batch.counterparts.defined());
  EXPECT_FALSE(batch.has_counterpart.any().item<bool>());
}

TEST_F(LoadTest, ARowWithoutCounterpartIsZeroAndMarked) {
  auto from_a = translations_of(dataset(), "a", 1);
  from_a[3].source.status = 2;
  write_run(dataset(), "a", "b", "cut", from_a);
  write_run(dataset(), "b", "a", "cut", translations_of(dataset(), "b", 1));
  const PairBatch batch = load_pairs(PairSet(dataset(), "a", {"b"}, {{"cut"}}), {2, 3}, config_, 1, 0);
  EXPECT_TRUE(at::equal(batch.has_counterpart, at::tensor({1, 0}).to(at::kBool)));
  EXPECT_TRUE(batch.counterparts[1].eq(0).all().item<bool>());
  EXPECT_FALSE(batch.counterparts[0].eq(0).all().item<bool>());
}

/// A dataset whose pictures show where each pixel came from, so that two augmentations can be told apart.
class AugmentedLoadTest : public testing::Test {
 protected:
  void SetUp() override {
    Image ramp{32, 32, {}};
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 32; ++x) ramp.pixels.insert(ramp.pixels.end(), {static_cast<uint8_t>(8 * x), static_cast<uint8_t>(8 * y), 0});
    }
    Manifest manifest{.kind = "dataset", .name = "ramps", .domains = {"a", "b"}};
    for (const std::string domain : {"a", "b"}) {
      const std::string file = "real/" + domain + "/train-00000-of-00001.h5";
      ShardWriter writer(folder_ / file, {.domain = domain, .split = "train", .codec = Codec::png, .height = 32, .width = 32});
      for (int64_t row = 0; row < 4; ++row) writer.add({key_of(domain, row), -1, encode(ramp, Codec::png)});
      writer.seal();
      manifest.entries.push_back(make_entry(folder_.path(), file, 4));
    }
    manifest.write(folder_ / "dataset.json");
    dataset_.emplace(folder_.path());
    for (const auto& [source, target] : {std::pair("a", "b"), std::pair("b", "a")}) {
      auto all = translations_of(*dataset_, source, 1);
      for (auto& one : all) one.image = ramp;
      write_run(*dataset_, source, target, "copy", all);
    }
    const std::vector<TranslatedSet> sets{{"copy"}};
    a_.emplace(*dataset_, "a", std::vector<std::string>{"b"}, sets);
    b_.emplace(*dataset_, "b", std::vector<std::string>{"a"}, sets);
    config_.resize = 32, config_.crop = 20, config_.rotation = 10;
  }

  TemporaryFolder folder_;
  std::optional<Dataset> dataset_;
  std::optional<PairSet> a_, b_;
  AugmentConfig config_;
};

TEST_F(AugmentedLoadTest, AnImagesViewDoesNotDependOnItsPlaceInTheBatch) {
  const PairBatch one = load_pairs(*a_, {2}, config_, 1, 0), many = load_pairs(*a_, {0, 1, 2, 6}, config_, 1, 0);
  EXPECT_TRUE(at::equal(one.images[0], many.images[2]));
  EXPECT_TRUE(at::equal(one.counterparts[0], many.counterparts[2]));
}

TEST_F(AugmentedLoadTest, EpochSeedAndImageGiveOtherViews) {
  const auto base = load_pairs(*a_, {2, 3}, config_, 1, 0).images;
  EXPECT_TRUE(at::equal(base, load_pairs(*a_, {2, 3}, config_, 1, 0).images));
  EXPECT_FALSE(at::equal(base[0], base[1]));
  EXPECT_FALSE(at::equal(base, load_pairs(*a_, {2, 3}, config_, 1, 1).images));
  EXPECT_FALSE(at::equal(base, load_pairs(*a_, {2, 3}, config_, 2, 0).images));
}

TEST_F(AugmentedLoadTest, AnImageItsCounterpartAndTheOtherSetsPairAllGetViewsOfTheirOwn) {
  // Entry 1 of a is picture a/1; entry 4 + 1 of b is its translation: same key, four loads.
  const PairBatch in_a = load_pairs(*a_, {1}, config_, 1, 0), in_b = load_pairs(*b_, {5}, config_, 1, 0);
  const std::vector<at::Tensor> views{in_a.images, in_a.counterparts, in_b.images, in_b.counterparts};
  for (size_t i = 0; i < views.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_FALSE(at::equal(views[i], views[j])) << i << " and " << j;
  }
}

TEST_F(AugmentedLoadTest, EvaluationViewsAreTheCentreInTheListsOrder) {
  const auto list = dataset_->real("a", "train");
  const at::Tensor images = load_evaluation(list, 1, 4, config_);
  EXPECT_EQ(images.sizes(), (std::vector<int64_t>{3, 3, 20, 20}));
  EXPECT_TRUE(images.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_EQ(images[0][0][0][0].item<int>(), 8 * 6);
  EXPECT_EQ(images[2][1][19][0].item<int>(), 8 * 25);
}

}  // namespace
}  // namespace syncdr::data
