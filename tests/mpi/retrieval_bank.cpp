// rooms: retrieval
#include "mpi_test.h"
#include "support/temporary_folder.h"
#include "syncdr/nn/unit_rows.h"
#include "syncdr/retrieval/losses.h"

namespace syncdr::retrieval {
namespace {

using test::world;

/// The same rows on every rank.
at::Tensor unit(int64_t rows, int64_t dim, uint64_t seed, at::ScalarType type = at::kDouble) {
  at::manual_seed(seed);
  return nn::unit_rows(at::randn({rows, dim}, at::kDouble)).to(type);
}

/// Products of small whole numbers are exact, so that many rows are equally near.
at::Tensor whole_numbers(int64_t rows, int64_t dim, uint64_t seed) {
  at::manual_seed(seed);
  return at::randint(-2, 3, {rows, dim}).to(at::kFloat);
}

MemoryBank sharded(const at::Tensor& rows, at::ScalarType type) {
  const training::Part part = training::part_of(rows.size(0), world().rank(), world().size());
  return {world(), rows.slice(0, part.first, part.last).to(type).clone(), rows.size(0)};
}

void expect_near(const at::Tensor& ours, const at::Tensor& wanted, double tolerance, const char* what) {
  ASSERT_EQ(ours.sizes(), wanted.sizes()) << what;
  const double size = wanted.abs().max().item<double>();
  EXPECT_LE((ours - wanted).abs().max().item<double>(), tolerance * std::max(size, 1e-6)) << what << " of " << size;
}

/// Losses and gradients with sharded rows against those with all rows here.
void compare(const at::Tensor& features, const at::Tensor& rows, at::ScalarType bank, int64_t top, double temperature, double tolerance) {
  const at::Tensor ids = at::arange(features.size(0), at::kLong).mul_(7).remainder_(rows.size(0));
  const MemoryBank parts = sharded(rows, bank), whole(rows.to(bank));
  const RowLosses instance = instance_discrimination(features, parts, ids, temperature), wanted = instance_discrimination(features, whole, ids, temperature);
  expect_near(instance.losses, wanted.losses, tolerance, "instance");
  expect_near(instance.gradient, wanted.gradient, tolerance, "instance, gradient");
  const RowLosses matching = cross_domain_matching(features, parts, temperature, top), matched = cross_domain_matching(features, whole, temperature, top);
  expect_near(matching.losses, matched.losses, tolerance, "matching");
  expect_near(matching.gradient, matched.gradient, tolerance, "matching, gradient");
}

TEST(ShardedBank, HasTheLossesAndGradientsOfAReplicatedOne) {
  for (const auto& [count, rows, dim, top, temperature] : {std::tuple<int64_t, int64_t, int64_t, int64_t, double>{14, 3, 8, 1, 0.1},
                                                           {9, 5, 8, 700, 0.1},
                                                           {33, 4000, 16, 700, 0.1},
                                                           {20, 3001, 64, 50, 0.02},
                                                           {150, 1000, 6, 999, 0.5}}) {
    SCOPED_TRACE(fmt::format("{} features, {} rows, top {}", count, rows, top));
    compare(unit(count, dim, 1), unit(rows, dim, 2), at::kDouble, top, temperature, 1e-10);
    compare(unit(count, dim, 1, at::kFloat), unit(rows, dim, 2, at::kFloat), at::kFloat, top, temperature, 1e-5);
    compare(unit(count, dim, 1, at::kFloat), unit(rows, dim, 2, at::kFloat), at::kBFloat16, top, temperature, 1e-5);
  }
}

// Another choice among the equally near would have another gradient.
TEST(ShardedBank, ChoosesAmongEquallyNearRowsAsAReplicatedOne) {
  const at::Tensor features = whole_numbers(40, 3, 3), rows = whole_numbers(2500, 3, 4);
  for (const int64_t top : {1, 2, 37, 700, 2499}) {
    SCOPED_TRACE(top);
    compare(features, rows, at::kFloat, top, 5.0, 1e-4);  // gradients nearly cancel here; one other row in 2,499 makes more than that
    compare(features.to(at::kDouble), rows, at::kDouble, top, 5.0, 1e-10);
  }
}

// All that is near lies on one rank: the others have no part in the entropy.
TEST(ShardedBank, MatchesRowsThatLieOnOneRank) {
  const at::Tensor features = unit(6, 8, 5);
  at::Tensor rows = unit(300, 8, 6);
  rows.slice(0, 290, 300).copy_(features.slice(0, 0, 1).repeat({10, 1}));
  compare(features, rows, at::kDouble, 5, 0.1, 1e-10);
}

TEST(ShardedBank, HasTheBitsOfAReplicatedOneAfterUpdates) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const at::Tensor rows = unit(100, 12, 7);
    std::vector<MemoryBank> parts, whole;
    for (int k = 0; k < 2; ++k) {
      parts.push_back(sharded(rows, type));
      whole.emplace_back(rows.to(type).clone());
    }
    EXPECT_EQ(checksum(world(), parts), checksum(world(), whole));
    const int64_t before = checksum(world(), whole);
    for (uint64_t step = 0; step < 4; ++step) {
      const at::Tensor ids = at::arange(17, at::kLong).mul_(5).add_(static_cast<int64_t>(step)), features = unit(17, 12, 8 + step, at::kFloat);
      parts[1].update(ids, features);
      whole[1].update(ids, features);
    }
    EXPECT_EQ(parts[1].rows().size(0), training::part_of(100, world().rank(), world().size()).size());
    EXPECT_TRUE(parts[1].rows().equal(whole[1].rows().slice(0, parts[1].part().first, parts[1].part().last)));
    EXPECT_EQ(checksum(world(), parts), checksum(world(), whole));
    EXPECT_NE(checksum(world(), whole), before);
  }
}

TEST(Checksum, TellsRowsAndBanksApart) {
  const at::Tensor rows = unit(70000, 4, 9, at::kFloat), other = unit(70000, 4, 10, at::kFloat);
  const auto of = [](const at::Tensor& a, const at::Tensor& b) { return checksum(world(), {MemoryBank(a), MemoryBank(b)}); };
  const int64_t sum = of(rows, other);
  EXPECT_GE(sum, 0);
  EXPECT_EQ(static_cast<int64_t>(static_cast<double>(sum)), sum);
  EXPECT_EQ(of(rows.clone(), other), sum);
  EXPECT_NE(of(other, rows), sum);
  EXPECT_NE(of(rows.flip(0), other), sum);
  at::Tensor one_bit = rows.clone();
  one_bit.view(at::kInt)[69999][3].bitwise_xor_(1);
  EXPECT_NE(of(one_bit, other), sum);
}

TEST(MakeBank, SaysWhenThereIsNoMemoryForIt) {
  const at::TensorOptions features = at::kFloat;
  EXPECT_ERROR(make_bank(world(), {}, int64_t{1} << 50, 512, features, 0.5), core::IoError, "no memory for 1125899906842624 rows x 512 numbers");
  const MemoryBank half = make_bank(world(), {.placement = "sharded", .precision = "bf16"}, 50, 4, features, 0.5);
  EXPECT_EQ(half.rows().scalar_type(), at::kBFloat16);
  EXPECT_EQ(half.rows().size(0), training::part_of(50, world().rank(), world().size()).size());
}

TEST(ShardedBank, RefusesRowsOutsideOnEveryRank) {
  MemoryBank bank = sharded(unit(30, 4, 11), at::kDouble);
  const at::Tensor features = unit(2, 4, 12);
  const auto ids = [](std::vector<int64_t> values) { return at::tensor(values, at::kLong); };
  EXPECT_ERROR(instance_discrimination(features, bank, ids({0, 30}), 0.1), core::UsageError, "rows 0 to 30 of a memory bank that has 30");
  EXPECT_ERROR(bank.update(ids({-1, 2}), features), core::UsageError, "rows -1 to 2 of a memory bank that has 30");
  EXPECT_ERROR(bank.update(ids({2, 2}), features), core::UsageError, "twice");
}

}  // namespace
}  // namespace syncdr::retrieval
