#include "syncdr/retrieval/losses.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <tuple>

#include "objective.h"
#include "retrieval/plain_losses.h"
#include "support/temporary_folder.h"
#include "syncdr/nn/unit_rows.h"

namespace syncdr::retrieval {
namespace {

at::Tensor unit(int64_t rows, int64_t dim) { return nn::unit_rows(at::randn({rows, dim}, at::kDouble)); }

at::Tensor numbers(std::vector<int64_t> values) { return at::tensor(values, at::kLong); }

double mean(const RowLosses& losses) { return losses.losses.mean().item<double>(); }

TEST(InstanceDiscrimination, OfEqualRowsIsTheLogarithmOfTheirNumber) {
  const at::Tensor row = unit(1, 8);
  EXPECT_NEAR(mean(instance_discrimination(row.repeat({3, 1}), MemoryBank(row.repeat({20, 1})), numbers({0, 7, 19}), 0.1)), std::log(20.0), 1e-12);
}

TEST(InstanceDiscrimination, IsSmallAtTheOwnRowAndLargeAtAnother) {
  const MemoryBank bank(at::eye(6, at::kDouble));
  const at::Tensor features = bank.rows().slice(0, 0, 3);
  // Own row 1/T = 10 above five others: log(1 + 5 exp(-10)); a wrong label 10 more.
  const double right = std::log1p(5 * std::exp(-10.0));
  EXPECT_NEAR(mean(instance_discrimination(features, bank, numbers({0, 1, 2}), 0.1)), right, 1e-12);
  EXPECT_NEAR(mean(instance_discrimination(features, bank, numbers({3, 4, 5}), 0.1)), right + 10, 1e-12);
}

TEST(InstanceDiscrimination, RefusesRowsOutsideTheBank) {
  const MemoryBank bank(unit(5, 4)), narrow(unit(5, 3));
  const at::Tensor features = unit(2, 4);
  EXPECT_ERROR(instance_discrimination(features, bank, numbers({0, 5}), 0.1), core::UsageError, "rows 0 to 5 of a memory bank that has 5");
  EXPECT_ERROR(instance_discrimination(features, bank, numbers({-1, 0}), 0.1), core::UsageError, "rows -1 to 0");
  EXPECT_ERROR(instance_discrimination(features, bank, numbers({1}), 0.1), core::UsageError, "2 features, but 1 rows");
  EXPECT_ERROR(instance_discrimination(features, narrow, numbers({0, 1}), 0.1), core::UsageError, "2x4 do not fit the memory bank 5x3");
}

TEST(CrossDomainMatching, IsTheEntropyOfAUniformChoiceAmongTheNearest) {
  const at::Tensor row = unit(1, 8), features = row.repeat({4, 1});
  // Ten rows equal the feature, ninety are its opposite: the top ten are alike.
  const MemoryBank bank(at::cat({row.repeat({10, 1}), -row.repeat({90, 1})}));
  EXPECT_NEAR(mean(cross_domain_matching(features, bank, 0.1, 10)), -std::log(0.1 + 1e-5), 1e-12);
  EXPECT_NEAR(mean(cross_domain_matching(features, bank, 0.1, 1)), -std::log(1 + 1e-5), 1e-12);
}

TEST(CrossDomainMatching, UsesAllRowsOfABankThatHasFewerThanTop) {
  const at::Tensor features = unit(4, 8);
  const MemoryBank bank(unit(30, 8));
  EXPECT_EQ(mean(cross_domain_matching(features, bank, 0.1, 700)), mean(cross_domain_matching(features, bank, 0.1, 30)));
}

// Of rows that are equally near the smaller ones count: their gradient is in the plane of rows 0 and 2, never of row 4.
TEST(CrossDomainMatching, OfEquallyNearRowsTakesTheSmaller) {
  const at::Tensor bank = at::eye(6, at::kDouble), feature = (bank[0] * 0.8 + bank[2] * 0.424 + bank[4] * 0.424).unsqueeze(0);
  const RowLosses loss = cross_domain_matching(feature, MemoryBank(bank), 0.5, 2);
  EXPECT_NE(loss.gradient[0][2].item<double>(), 0);
  EXPECT_EQ(loss.gradient[0][4].item<double>(), 0);
}

TEST(PseudoPositivePairs, OfOrthogonalPairsHasTheClosedForm) {
  const at::Tensor features = at::eye(5, at::kDouble);
  EXPECT_NEAR(pseudo_positive_pairs(features, features, at::ones({5}, at::kDouble), 1.0).losses.mean().item<double>(), std::log1p(4 * std::exp(-1.0)), 1e-12);
  EXPECT_NEAR(pseudo_positive_pairs(features, features, at::ones({5}, at::kDouble), 0.1).losses.mean().item<double>(), std::log1p(4 * std::exp(-10.0)), 1e-12);
}

/// Features, rows of each bank, dimensions, top, temperature.
using Shape = std::tuple<int64_t, int64_t, int64_t, int64_t, double>;

class AgainstAutograd : public testing::TestWithParam<Shape> {
 protected:
  /// Losses: relative to 1 at least. Gradients, which are means over features: relative to the largest, unless all but vanish.
  void expect_near(const at::Tensor& ours, const at::Tensor& theirs, double tolerance, const char* what) {
    ASSERT_EQ(ours.sizes(), theirs.sizes()) << what;
    const double size = theirs.abs().max().item<double>(), error = (ours.to(at::kDouble) - theirs).abs().max().item<double>();
    EXPECT_LE(error, tolerance * std::max(size, ours.dim() == 0 ? 1 : 1e-3)) << what << " of " << size;
  }
  /// In type; the truth is autograd's in double of the same numbers.
  void compare(at::ScalarType type, at::ScalarType bank_type, double tolerance) {
    const auto [count, rows, dim, top, temperature] = GetParam();
    torch::manual_seed(count + rows);
    const at::Tensor features = unit(count, dim).to(type), others = unit(count, dim).to(type);
    const at::Tensor bank = unit(rows, dim).to(bank_type), ids = at::randperm(rows, at::kLong).slice(0, 0, count);
    const auto leaf = [](const at::Tensor& tensor) { return tensor.to(at::kDouble).clone().set_requires_grad(true); };
    const at::Tensor x = leaf(features), y = leaf(others), constant = bank.to(at::kDouble);
    const auto expect = [&](const RowLosses& ours, const at::Tensor& theirs, const char* what) {
      expect_near(ours.losses.mean(), theirs.detach(), tolerance, what);
      expect_near(ours.gradient / count, torch::autograd::grad({theirs}, {x})[0], tolerance, what);
    };
    expect(instance_discrimination(features, MemoryBank(bank), ids, temperature), plain::instance_discrimination(x, constant, ids, temperature), "instance");
    expect(cross_domain_matching(features, MemoryBank(bank), temperature, top), plain::cross_domain_matching(x, constant, temperature, top), "matching");
    const at::Tensor weights = at::rand({count}, at::kDouble) + 0.1;
    const PairLosses pairs = pseudo_positive_pairs(features, others, weights.to(type), temperature);
    const at::Tensor truth = plain::pseudo_positive_pairs(x, y, temperature, weights);
    const double sum = weights.sum().item<double>();
    const auto gradients = torch::autograd::grad({truth}, {x, y});
    expect_near(pairs.losses.sum() / sum, truth.detach(), tolerance, "pairs");
    expect_near(pairs.queries_gradient / sum, gradients[0], tolerance, "pairs, queries");
    expect_near(pairs.others_gradient / sum, gradients[1], tolerance, "pairs, others");
  }
};

TEST_P(AgainstAutograd, InDoublePrecision) { compare(at::kDouble, at::kDouble, 1e-11); }
TEST_P(AgainstAutograd, InSinglePrecision) { compare(at::kFloat, at::kFloat, 2e-5); }
TEST_P(AgainstAutograd, WithABankInHalfTheMemory) { compare(at::kFloat, at::kBFloat16, 2e-5); }

// Banks of a row, shorter than a tile, of whole tiles and of what is no multiple of them; top above the bank; temperatures whose exponentials overflow.
INSTANTIATE_TEST_SUITE_P(Shapes, AgainstAutograd,
                         testing::Values(Shape{1, 1, 2, 1, 0.1}, Shape{3, 7, 4, 3, 0.1}, Shape{9, 2048, 16, 700, 0.1}, Shape{33, 2049, 8, 700, 0.5},
                                         Shape{150, 3001, 32, 50, 0.1}, Shape{5, 300, 64, 700, 0.1}, Shape{20, 1500, 8, 1, 0.02},
                                         Shape{12, 5000, 128, 700, 0.003}, Shape{1100, 1300, 6, 20, 0.1}));

TEST(PseudoPositivePairs, WithoutAPairIsNothing) {
  const at::Tensor none = unit(4, 8).slice(0, 0, 0);
  const PairLosses losses = pseudo_positive_pairs(none, none, none.select(1, 0), 1.0);
  EXPECT_EQ(losses.losses.numel() + losses.queries_gradient.numel() + losses.others_gradient.numel(), 0);
}

// The run says that training has diverged; nothing here may hang or fall over before.
TEST(Losses, OfFeaturesThatAreNotFiniteAreNotFinite) {
  const at::Tensor broken = at::full({2, 4}, std::nan(""), at::kDouble);
  const MemoryBank bank(unit(50, 4));
  EXPECT_TRUE(std::isnan(mean(instance_discrimination(broken, bank, numbers({0, 1}), 0.1))));
  EXPECT_TRUE(std::isnan(mean(cross_domain_matching(broken, bank, 0.1, 5))));
  EXPECT_TRUE(std::isnan(pseudo_positive_pairs(broken, broken, at::ones({2}, at::kDouble), 0.1).losses.mean().item<double>()));
}

/// A global batch of entries with these weights, whose gathered rows are dealt to `ranks`, every third entry without a counterpart.
GlobalBatch make_batch(const std::array<at::Tensor, 2>& weights, int rank, int ranks) {
  GlobalBatch batch{.domains = std::vector<DomainBatch>(2)};
  std::array<std::vector<int64_t>, 2> ids, features, paired, counterparts;
  for (int r = 0; r < ranks; ++r) {
    for (size_t k = 0; k < 2; ++k) {
      const training::Part part = training::part_of(weights[k].size(0), r, ranks);
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
    batch.domains[k].weights = weights[k].index_select(0, batch.domains[k].paired);
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

/// The gradient of a step on so many ranks, and its values: the ranks' shares put together.
LossShare of_all_ranks(const TrainConfig& config, const std::array<at::Tensor, 2>& weights, const std::array<at::Tensor, 2>& features,
                       const std::array<at::Tensor, 2>& counterparts, const std::vector<MemoryBank>& banks, const Directions& matching, int ranks) {
  std::vector<at::Tensor> gradients;
  at::Tensor values = at::zeros({4}, at::kDouble);
  for (int rank = 0; rank < ranks; ++rank) {
    const GlobalBatch batch = make_batch(weights, rank, ranks);
    const LossShare share = loss_share(config, batch, arrange(batch, features, counterparts), banks, matching);
    gradients.push_back(share.gradient);
    values += share.values;
  }
  return {at::cat(gradients), values};
}

const Directions both_ways = {{0, 1}, {1, 0}};

struct TwoDomains : testing::Test {
  TwoDomains() { torch::manual_seed(4); }
  std::array<at::Tensor, 2> weights = {at::ones({7}, at::kDouble), at::ones({11}, at::kDouble)};
  std::array<at::Tensor, 2> features = {unit(7, 6), unit(11, 6)}, counterparts = {unit(7, 6), unit(11, 6)};
  const std::vector<MemoryBank> banks = {MemoryBank(unit(14, 6)), MemoryBank(unit(22, 6))};
  TrainConfig config = {.matching_weight = 0.7, .matching_top = 5, .pair_weight = 0.4, .pair_temperature = 0.3};

  LossShare of(int ranks, const Directions& matching = both_ways) const {
    return of_all_ranks(config, weights, features, counterparts, banks, matching, ranks);
  }
};

TEST_F(TwoDomains, SharesOfAnyNumberOfRanksHaveTheValueAndTheGradientOfOne) {
  const LossShare one = of(1);
  const GlobalBatch batch = make_batch(weights, 0, 1);
  EXPECT_GT(one.gradient.index_select(0, batch.domains[1].counterparts).abs().max().item<double>(), 1e-3);
  for (const int ranks : {2, 3, 5}) {
    const LossShare some = of(ranks);
    EXPECT_TRUE(some.values.allclose(one.values, 1e-12, 1e-12)) << ranks << " ranks: " << some.values << one.values;
    const GlobalBatch dealt = make_batch(weights, 0, ranks);
    for (size_t k = 0; k < 2; ++k) {
      for (const auto part : {&DomainBatch::features, &DomainBatch::counterparts}) {
        const at::Tensor ours = some.gradient.index_select(0, dealt.domains[k].*part), wanted = one.gradient.index_select(0, batch.domains[k].*part);
        EXPECT_TRUE(ours.allclose(wanted, 1e-10, 1e-12)) << ranks << " ranks, domain " << k;
      }
    }
  }
}

TEST_F(TwoDomains, TheLossIsTheFormulaOfThePaperAndItsGradientAutograds) {
  const GlobalBatch batch = make_batch(weights, 0, 1);
  const at::Tensor gathered = arrange(batch, features, counterparts).set_requires_grad(true);
  at::Tensor instance = at::zeros({}, at::kDouble), matching = instance, pairs = instance;
  for (size_t k = 0; k < 2; ++k) {
    const DomainBatch& domain = batch.domains[k];
    const at::Tensor own = gathered.index_select(0, domain.features);
    instance = instance + 0.5 * plain::instance_discrimination(own, banks[k].rows(), domain.ids, 0.1);
    matching = matching + plain::cross_domain_matching(own, banks[1 - k].rows(), 0.1, 5);
    pairs = pairs + plain::pseudo_positive_pairs(gathered.index_select(0, domain.counterparts), own.index_select(0, domain.paired), 0.3);
  }
  const at::Tensor loss = instance + 0.7 * matching + 0.4 * pairs;
  const LossShare share = of(1);
  EXPECT_TRUE(share.values.allclose(at::stack({loss, instance, matching, pairs}).detach(), 1e-12, 1e-12)) << share.values << loss;
  EXPECT_TRUE(share.gradient.allclose(torch::autograd::grad({loss}, {gathered})[0], 1e-10, 1e-12));
}

TEST_F(TwoDomains, EachLossHasItsTemperature) {
  const at::Tensor same = of(1).values;
  config.temperature = 0.7;
  config.instance_temperature = config.matching_temperature = 0.1;
  EXPECT_TRUE(of(1).values.equal(same));
  config.instance_temperature = 0.2;
  EXPECT_FALSE(of(1).values[1].equal(same[1]));
  EXPECT_TRUE(of(1).values[2].equal(same[2]));
  config.matching_temperature = 0.2;
  EXPECT_FALSE(of(1).values[2].equal(same[2]));
}

TEST_F(TwoDomains, MatchingMayGoOneWay) {
  const double a = of(1, {{0, 1}}).values[2].item<double>(), b = of(1, {{1, 0}}).values[2].item<double>();
  EXPECT_NEAR(of(1).values[2].item<double>(), a + b, 1e-12);
  EXPECT_EQ(of(1, {}).values[2].item<double>(), 0);
}

TEST_F(TwoDomains, PairsMayLookTheOtherWayOrBothWays) {
  const at::Tensor published = of(1).values[3];
  config.pair_direction = "image-to-counterpart";
  const at::Tensor reversed = of(1).values[3];
  const GlobalBatch batch = make_batch(weights, 0, 1);
  at::Tensor wanted = at::zeros({}, at::kDouble);
  for (size_t k = 0; k < 2; ++k) {
    const at::Tensor& paired = batch.domains[k].paired;
    wanted = wanted + plain::pseudo_positive_pairs(features[k].index_select(0, paired), counterparts[k].index_select(0, paired), 0.3);
  }
  EXPECT_NEAR(reversed.item<double>(), wanted.item<double>(), 1e-12);
  config.pair_direction = "both";
  EXPECT_NEAR(of(1).values[3].item<double>(), 0.5 * (published + reversed).item<double>(), 1e-12);
}

TEST_F(TwoDomains, PairsCountByTheirWeightsOnAnyNumberOfRanks) {
  for (at::Tensor& of_domain : weights) of_domain = at::rand({of_domain.size(0)}, at::kDouble) + 0.1;
  config.instance_weight = config.matching_weight = 0;
  config.pair_direction = "both";
  const GlobalBatch batch = make_batch(weights, 0, 1);
  const at::Tensor gathered = arrange(batch, features, counterparts).set_requires_grad(true);
  at::Tensor pairs = at::zeros({}, at::kDouble);
  for (const DomainBatch& domain : batch.domains) {
    const at::Tensor images = gathered.index_select(0, domain.features.index_select(0, domain.paired)), others = gathered.index_select(0, domain.counterparts);
    pairs =
        pairs + plain::pseudo_positive_pairs(others, images, 0.3, domain.weights) / 2 + plain::pseudo_positive_pairs(images, others, 0.3, domain.weights) / 2;
  }
  const LossShare one = of(1);
  EXPECT_NEAR(one.values[3].item<double>(), pairs.item<double>(), 1e-12);
  EXPECT_TRUE(one.gradient.allclose(torch::autograd::grad({0.4 * pairs}, {gathered})[0], 1e-10, 1e-12));
  for (const int ranks : {2, 3}) EXPECT_TRUE(of(ranks).values.allclose(one.values, 1e-12, 1e-12)) << ranks << " ranks";
}

TEST_F(TwoDomains, AFactorOfAllWeightsChangesNothing) {
  const LossShare plain = of(1);
  for (at::Tensor& of_domain : weights) of_domain = of_domain * std::exp2(-1000);
  EXPECT_TRUE(of(1).values.equal(plain.values));
  EXPECT_TRUE(of(1).gradient.equal(plain.gradient));
}

TEST(MatchingDirections, AreAllUnlessNamed) {
  TrainConfig config;
  const std::vector<std::string> domains = {"sketch", "photo", "clip"};
  EXPECT_EQ(matching_directions(config, domains).size(), 6u);
  config.matching_directions = {"photo->sketch", "clip->photo"};
  EXPECT_EQ(matching_directions(config, domains), (Directions{{1, 0}, {2, 1}}));
  config.matching_directions = {"photo->sketches"};
  EXPECT_ERROR(matching_directions(config, domains), core::UsageError,
               "no direction \"photo->sketches\". There are sketch->photo, sketch->clip, photo->sketch");
}

}  // namespace
}  // namespace syncdr::retrieval
