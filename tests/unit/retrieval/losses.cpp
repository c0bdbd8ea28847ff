#include "syncdr/retrieval/losses.h"
#include "syncdr/nn/unit_rows.h"

#include <gtest/gtest.h>

#include <cmath>

#include "objective.h"
#include "support/temporary_folder.h"

namespace syncdr::retrieval {
namespace {

at::Tensor unit(int64_t rows, int64_t dim) { return nn::unit_rows(at::randn({rows, dim}, at::kDouble)); }

at::Tensor numbers(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

TEST(InstanceDiscrimination, OfEqualRowsIsTheLogarithmOfTheirNumber) {
  const at::Tensor row = unit(1, 8);
  const at::Tensor loss = instance_discrimination(row.repeat({3, 1}), row.repeat({20, 1}), numbers({0, 7, 19}), 0.1);
  EXPECT_NEAR(loss.item<double>(), std::log(20.0), 1e-12);
}

TEST(InstanceDiscrimination, IsSmallAtTheOwnRowAndLargeAtAnother) {
  const at::Tensor bank = at::eye(6, at::kDouble), features = bank.slice(0, 0, 3);
  // Own row 1/T = 10 above five others: log(1 + 5 exp(-10)); a wrong label 10 more.
  const double right = std::log1p(5 * std::exp(-10.0));
  EXPECT_NEAR(instance_discrimination(features, bank, numbers({0, 1, 2}), 0.1).item<double>(), right, 1e-12);
  EXPECT_NEAR(instance_discrimination(features, bank, numbers({3, 4, 5}), 0.1).item<double>(), right + 10, 1e-12);
}

TEST(InstanceDiscrimination, RefusesRowsOutsideTheBank) {
  const at::Tensor bank = unit(5, 4), features = unit(2, 4);
  EXPECT_ERROR(instance_discrimination(features, bank, numbers({0, 5}), 0.1), core::UsageError, "rows 0 to 5 of a memory bank that has 5");
  EXPECT_ERROR(instance_discrimination(features, bank, numbers({-1, 0}), 0.1), core::UsageError, "rows -1 to 0");
  EXPECT_ERROR(instance_discrimination(features, bank, numbers({1}), 0.1), core::UsageError, "2 features, but 1 rows");
  EXPECT_ERROR(instance_discrimination(features, unit(5, 3), numbers({0, 1}), 0.1), core::UsageError, "2x4 do not fit the memory bank 5x3");
}

TEST(CrossDomainMatching, IsTheEntropyOfAUniformChoiceAmongTheNearest) {
  const at::Tensor row = unit(1, 8), features = row.repeat({4, 1});
  // Ten rows equal the feature, ninety are its opposite: the top ten are alike.
  const at::Tensor bank = at::cat({row.repeat({10, 1}), -row.repeat({90, 1})});
  EXPECT_NEAR(cross_domain_matching(features, bank, 0.1, 10).item<double>(), -std::log(0.1 + 1e-5), 1e-12);
  EXPECT_NEAR(cross_domain_matching(features, bank, 0.1, 1).item<double>(), -std::log(1 + 1e-5), 1e-12);
}

TEST(CrossDomainMatching, UsesAllRowsOfABankThatHasFewerThanTop) {
  const at::Tensor features = unit(4, 8), bank = unit(30, 8);
  EXPECT_EQ(cross_domain_matching(features, bank, 0.1, 700).item<double>(), cross_domain_matching(features, bank, 0.1, 30).item<double>());
}

TEST(PseudoPositivePairs, OfOrthogonalPairsHasTheClosedForm) {
  const at::Tensor features = at::eye(5, at::kDouble);
  EXPECT_NEAR(pseudo_positive_pairs(features, features, 1.0).item<double>(), std::log1p(4 * std::exp(-1.0)), 1e-12);
  EXPECT_NEAR(pseudo_positive_pairs(features, features, 0.1).item<double>(), std::log1p(4 * std::exp(-10.0)), 1e-12);
}

TEST(PseudoPositivePairs, WithoutAPairIsZeroAndStillHangsOnTheFeatures) {
  const at::Tensor features = unit(4, 8).requires_grad_(true);
  const at::Tensor loss = pseudo_positive_pairs(features.slice(0, 0, 0), features.slice(0, 0, 0), 1.0);
  EXPECT_EQ(loss.item<double>(), 0);
  loss.backward();
  EXPECT_EQ(features.grad().abs().sum().item<double>(), 0);
}

/// A global batch of `sizes` entries whose gathered rows are dealt to `ranks`, every third entry without a counterpart.
GlobalBatch make_batch(std::array<int64_t, 2> sizes, int rank, int ranks) {
  GlobalBatch batch{.domains = std::vector<DomainBatch>(2)};
  std::array<std::vector<int64_t>, 2> ids, features, paired, counterparts;
  for (int r = 0; r < ranks; ++r) {
    for (size_t k = 0; k < 2; ++k) {
      const training::Part part = training::part_of(sizes[k], r, ranks);
      if (r == rank) batch.domains[k].own = part;
      for (int64_t at = part.first; at < part.last; ++at) features[k].push_back(batch.images++);
      for (int64_t at = part.first; at < part.last; ++at) {
        ids[k].push_back(2 * at);
        if (at % 3 == 2) continue;
        paired[k].push_back(at);
        counterparts[k].push_back(batch.images++);
      }
    }
  }
  for (size_t k = 0; k < 2; ++k) {
    batch.domains[k].ids = numbers(ids[k]);
    batch.domains[k].features = numbers(features[k]);
    batch.domains[k].paired = numbers(paired[k]);
    batch.domains[k].counterparts = numbers(counterparts[k]);
  }
  return batch;
}

/// Features by what they are, not by where they lie: row k of domain d's entries, then of its counterparts.
at::Tensor arrange(const GlobalBatch& batch, const std::array<at::Tensor, 2>& features, const std::array<at::Tensor, 2>& counterparts) {
  at::Tensor rows = at::zeros({batch.images, features[0].size(1)}, at::kDouble);
  for (size_t k = 0; k < 2; ++k) {
    rows.index_copy_(0, batch.domains[k].features, features[k]);
    rows.index_copy_(0, batch.domains[k].counterparts, counterparts[k].index_select(0, batch.domains[k].paired));
  }
  return rows;
}

/// What gather_with_own_gradient does: gradients flow into this rank's rows only.
at::Tensor with_own_gradient(const at::Tensor& rows, const GlobalBatch& batch) {
  at::Tensor own = at::zeros({rows.size(0), 1}, at::kDouble);
  for (const DomainBatch& domain : batch.domains) {
    own.index_fill_(0, domain.features.slice(0, domain.own.first, domain.own.last), 1.0);
    const at::Tensor mine = domain.paired.ge(domain.own.first) & domain.paired.lt(domain.own.last);
    own.index_fill_(0, domain.counterparts.masked_select(mine), 1.0);
  }
  return own * rows + (1 - own) * rows.detach();
}

TEST(LossShare, SharesOfAnyNumberOfRanksHaveTheValueAndTheGradientOfOne) {
  torch::manual_seed(4);
  const std::array<int64_t, 2> sizes = {7, 11};
  const std::array<at::Tensor, 2> features = {unit(7, 6).requires_grad_(true), unit(11, 6).requires_grad_(true)};
  const std::array<at::Tensor, 2> counterparts = {unit(7, 6).requires_grad_(true), unit(11, 6).requires_grad_(true)};
  const std::vector<MemoryBank> banks = {MemoryBank(unit(14, 6)), MemoryBank(unit(22, 6))};
  const TrainConfig config{.matching_weight = 0.7, .matching_top = 5, .pair_weight = 0.4, .pair_temperature = 0.3};
  const std::vector<at::Tensor> leaves = {features[0], features[1], counterparts[0], counterparts[1]};
  std::vector<at::Tensor> wanted;
  at::Tensor wanted_values;
  for (const int ranks : {1, 2, 3, 5}) {
    for (const at::Tensor& leaf : leaves) leaf.mutable_grad() = at::Tensor();
    at::Tensor values = at::zeros({4}, at::kDouble);
    for (int rank = 0; rank < ranks; ++rank) {
      const GlobalBatch batch = make_batch(sizes, rank, ranks);
      const at::Tensor gathered = with_own_gradient(arrange(batch, features, counterparts), batch);
      const LossShare share = loss_share(config, batch, gathered, banks, /*with_matching=*/true, ranks);
      share.backward.backward();  // accumulates: the sum over ranks
      values += share.values;
    }
    if (ranks == 1) {
      for (const at::Tensor& leaf : leaves) wanted.push_back(leaf.grad().clone());
      wanted_values = values;
      continue;
    }
    EXPECT_TRUE(values.allclose(wanted_values, 1e-12, 1e-12)) << ranks << " ranks: " << values << wanted_values;
    for (size_t k = 0; k < leaves.size(); ++k) EXPECT_TRUE(leaves[k].grad().allclose(wanted[k], 1e-10, 1e-12)) << ranks << " ranks, leaf " << k;
  }
  EXPECT_GT(wanted[2].abs().max().item<double>(), 1e-3);
}

TEST(LossShare, OfAGlobalBatchIsTheFormulaOfThePaper) {
  torch::manual_seed(5);
  const GlobalBatch batch = make_batch({4, 8}, 0, 1);
  const std::array<at::Tensor, 2> features = {unit(4, 6), unit(8, 6)}, counterparts = {unit(4, 6), unit(8, 6)};
  const std::vector<MemoryBank> banks = {MemoryBank(unit(14, 6)), MemoryBank(unit(22, 6))};
  const TrainConfig config;
  const LossShare share = loss_share(config, batch, arrange(batch, features, counterparts), banks, true, 1);
  const double instance = 0.5 * (instance_discrimination(features[0], banks[0].rows(), batch.domains[0].ids, 0.1) +
                                 instance_discrimination(features[1], banks[1].rows(), batch.domains[1].ids, 0.1))
                                    .item<double>();
  const double matching =
      (cross_domain_matching(features[0], banks[1].rows(), 0.1, 700) + cross_domain_matching(features[1], banks[0].rows(), 0.1, 700)).item<double>();
  double pairs = 0;
  for (size_t k = 0; k < 2; ++k) {
    const at::Tensor& paired = batch.domains[k].paired;
    pairs += pseudo_positive_pairs(counterparts[k].index_select(0, paired), features[k].index_select(0, paired), 1.0).item<double>();
  }
  EXPECT_NEAR(share.values[1].item<double>(), instance, 1e-12);
  EXPECT_NEAR(share.values[2].item<double>(), matching, 1e-12);
  EXPECT_NEAR(share.values[3].item<double>(), pairs, 1e-12);
  EXPECT_NEAR(share.backward.item<double>(), instance + matching + 0.5 * pairs, 1e-12);
}

}  // namespace
}  // namespace syncdr::retrieval
