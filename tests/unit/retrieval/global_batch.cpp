#include "global_batch.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "tiny_dataset.h"

namespace syncdr::retrieval {
namespace {

std::vector<int64_t> values(const at::Tensor& tensor) { return {tensor.data_ptr<int64_t>(), tensor.data_ptr<int64_t>() + tensor.numel()}; }

class GlobalBatchesTest : public testing::Test {
 protected:
  GlobalBatches batches(int64_t batch, int rank = 0, int ranks = 1, uint64_t seed = 3) const { return {{&a_, &b_}, batch, seed, rank, ranks}; }

  TemporaryFolder folder_;
  // 30 + 50 images and their translations, every 7th of which is quarantined: 73 and 76 entries.
  data::Dataset dataset_{test::TinyDataset{.first = 30, .second = 50}.write(folder_ / "two")};
  data::PairSet a_{dataset_, "warm", {"cold"}, {{"swap"}}}, b_{dataset_, "cold", {"warm"}, {{"swap"}}};
  data::AugmentConfig augment_{.resize = 32, .crop = 32};
};

TEST_F(GlobalBatchesTest, NoTwoEntriesShareARowAndAnEpochPassesOverAll) {
  ASSERT_EQ(a_.size(), 30 + 50 - 7);
  const GlobalBatches all = batches(a_.size());
  ASSERT_EQ(all.steps_per_epoch(), 1);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const GlobalBatch batch = all.at(epoch);
    std::vector<int64_t> ids = values(batch.domains[0].ids), wanted(static_cast<size_t>(a_.size()));
    std::iota(wanted.begin(), wanted.end(), 0);
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(ids, wanted);  // real images and translations alike
  }
  EXPECT_NE(values(all.at(0).domains[0].ids), values(all.at(1).domains[0].ids));
}

TEST_F(GlobalBatchesTest, TheLongerDomainsBatchIsScaledByTheRatioOfLengths) {
  const data::PairSet short_set(dataset_, "warm"), long_set(dataset_, "cold");
  const GlobalBatches all({&short_set, &long_set}, 6, 3, 0, 1);
  EXPECT_EQ(all.at(0).domains[0].ids.numel(), 6);
  EXPECT_EQ(all.at(0).domains[1].ids.numel(), 10);
  EXPECT_EQ(all.steps_per_epoch(), 5);
  EXPECT_EQ(all.at(0).images, 16);  // no counterparts without a translation
  EXPECT_EQ(all.load(0, augment_).size(0), 16);
}

TEST_F(GlobalBatchesTest, OfThreeDomainsTheShortestGivesTheBatchAndAllLieWhereThePlanSays) {
  const data::Dataset dataset(test::TinyDataset{.first = 20, .second = 30, .third = 50, .quarantine_every = 0}.write(folder_ / "three"));
  const data::PairSet warm(dataset, "warm"), cold(dataset, "cold"), mild(dataset, "mild", {"warm", "cold"}, {{"swap"}});
  const auto all = [&](int rank, int ranks) { return GlobalBatches({&mild, &warm, &cold}, 8, 3, rank, ranks); };
  const GlobalBatch whole = all(0, 1).at(1);
  ASSERT_EQ(whole.domains.size(), 3u);
  EXPECT_EQ(whole.domains[0].ids.numel(), 40);  // 100 entries, where the shortest domain has 20
  EXPECT_EQ(whole.domains[1].ids.numel(), 8);
  EXPECT_EQ(whole.domains[2].ids.numel(), 12);
  EXPECT_EQ(whole.domains[0].paired.numel(), 40);
  EXPECT_EQ(all(0, 1).steps_per_epoch(), 2);
  const at::Tensor alone = all(0, 1).load(1, augment_), shared = at::cat({all(0, 2).load(1, augment_), all(1, 2).load(1, augment_)});
  const GlobalBatch plan = all(1, 2).at(1);
  for (size_t k = 0; k < 3; ++k) EXPECT_TRUE(shared.index_select(0, plan.domains[k].features).equal(alone.index_select(0, whole.domains[k].features))) << k;
}

TEST_F(GlobalBatchesTest, AnyNumberOfRanksSharesTheSameBatch) {
  const GlobalBatch whole = batches(13).at(4);
  for (const int ranks : {2, 3, 5}) {
    for (size_t k = 0; k < 2; ++k) {
      int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const GlobalBatch batch = batches(13, rank, ranks).at(4);
        EXPECT_TRUE(batch.domains[k].ids.equal(whole.domains[k].ids));
        EXPECT_TRUE(batch.domains[k].paired.equal(whole.domains[k].paired));
        EXPECT_EQ(batch.images, whole.images);
        EXPECT_EQ(batch.domains[k].own.first, next);
        next = batch.domains[k].own.last;
      }
      EXPECT_EQ(next, whole.domains[k].ids.numel());
    }
  }
}

TEST_F(GlobalBatchesTest, GatheredRowsHoldEachEntryAndItsCounterpartWhereThePlanSays) {
  const GlobalBatch whole_plan = batches(13).at(2);
  const at::Tensor whole = batches(13).load(2, augment_);
  ASSERT_EQ(whole.size(0), whole_plan.images);
  for (const int ranks : {2, 3}) {
    std::vector<at::Tensor> loaded;
    for (int rank = 0; rank < ranks; ++rank) loaded.push_back(batches(13, rank, ranks).load(2, augment_));
    const at::Tensor gathered = at::cat(loaded);
    const GlobalBatch plan = batches(13, 0, ranks).at(2);
    for (size_t k = 0; k < 2; ++k) {
      EXPECT_TRUE(gathered.index_select(0, plan.domains[k].features).equal(whole.index_select(0, whole_plan.domains[k].features)));
      EXPECT_TRUE(gathered.index_select(0, plan.domains[k].counterparts).equal(whole.index_select(0, whole_plan.domains[k].counterparts)));
    }
  }
}

TEST_F(GlobalBatchesTest, EntriesWithoutACounterpartAreInNoPair) {
  const GlobalBatch batch = batches(60).at(0);
  const auto ids = values(batch.domains[0].ids), paired = values(batch.domains[0].paired);
  const std::set<int64_t> in_pair(paired.begin(), paired.end());
  int64_t without = 0;
  for (size_t at = 0; at < ids.size(); ++at) {
    EXPECT_EQ(in_pair.contains(static_cast<int64_t>(at)), a_.has_counterpart(ids[at]));
    without += a_.has_counterpart(ids[at]) ? 0 : 1;
  }
  EXPECT_GT(without, 0);
}

TEST_F(GlobalBatchesTest, APairHasTheWeightOfTheTranslationThatIsDrawn) {
  const data::Dataset dataset(test::TinyDataset{.first = 20, .second = 30, .quarantine_every = 0, .runs = {"swap", "fade"}}.write(folder_ / "weighted"));
  const auto weight = [](double of_set, int64_t rows) { return at::full({rows, 1}, of_set, at::kDouble); };
  const auto set = [&](const std::string& name, double out, double back) {
    return data::TranslatedSet{.run = name, .weights = {{{"warm", "cold"}, weight(out, 20)}, {{"cold", "warm"}, weight(back, 30)}}};
  };
  const std::vector<data::TranslatedSet> sets{set("swap", 0.5, 0.25), set("fade", 0.125, 1)};
  const data::PairSet warm(dataset, "warm", {"cold"}, sets), cold(dataset, "cold", {"warm"}, sets);
  const auto all = [&](int rank, int ranks) { return GlobalBatches({&warm, &cold}, 50, 3, rank, ranks); };
  const GlobalBatch batch = all(0, 1).at(1);
  for (size_t k = 0; k < 2; ++k) {
    const data::PairSet& own = k == 0 ? warm : cold;
    const auto ids = values(batch.domains[k].ids), paired = values(batch.domains[k].paired);
    ASSERT_EQ(paired.size(), 50u);
    std::set<double> seen;
    for (size_t i = 0; i < paired.size(); ++i) {
      const int64_t entry = ids[static_cast<size_t>(paired[i])];
      const bool real = own.is_real(entry), from_warm = (k == 0) == real;
      const std::string file = data::draw(own, entry, real, 3, 1).place.shard->path().string();
      const bool swap = file.find("/swap/") != std::string::npos;
      EXPECT_EQ(batch.domains[k].weights[static_cast<int64_t>(i)].item<double>(), from_warm ? (swap ? 0.5 : 0.125) : (swap ? 0.25 : 1)) << entry;
      seen.insert(batch.domains[k].weights[static_cast<int64_t>(i)].item<double>());
    }
    EXPECT_EQ(seen.size(), 4u);
    EXPECT_TRUE(all(1, 3).at(1).domains[k].weights.equal(batch.domains[k].weights));
    EXPECT_EQ(batches(8).at(0).domains[k].weights.min().item<double>(), 1);
  }
}

TEST_F(GlobalBatchesTest, TheSameSeedGivesTheSamePixelsAndAnotherSeedOthers) {
  EXPECT_TRUE(batches(8).load(5, augment_).equal(batches(8).load(5, augment_)));
  EXPECT_FALSE(values(batches(8, 0, 1, 3).at(5).domains[0].ids) == values(batches(8, 0, 1, 4).at(5).domains[0].ids));
}

TEST_F(GlobalBatchesTest, ABatchThatIsTooLargeOrTooSmallIsAUsageError) {
  EXPECT_ERROR(batches(74), core::UsageError, "a batch of 74 from a domain with 73");
  EXPECT_ERROR(batches(2, 0, 3), core::UsageError, "2 images per domain for 3 ranks");
}

}  // namespace
}  // namespace syncdr::retrieval
