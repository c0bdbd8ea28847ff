#include <ATen/Parallel.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <array>
#include <vector>

#include "syncdr/kernels/fast_norm.h"
#include "syncdr/kernels/flash_attention.h"
#include "syncdr/kernels/product.h"
#include "syncdr/kernels/winograd.h"

/// Each kernel, in each type that it takes, against LibTorch's operators in float64.
namespace syncdr::kernels {
namespace {

double distance(const at::Tensor& ours, const at::Tensor& exact) {
  EXPECT_EQ(ours.sizes(), exact.sizes());
  return ((ours - exact).norm() / exact.norm()).item<double>();
}

at::Tensor exact(const at::Tensor& values) { return values.to(at::kDouble); }

struct Kernels : testing::TestWithParam<at::ScalarType> {
  Kernels() { torch::manual_seed(1); }

  at::Tensor normal(at::IntArrayRef shape, double deviation = 1, double mean = 0) const { return (at::randn(shape) * deviation + mean).to(GetParam()); }
  /// What may be lost where only sums and results are rounded: 0.0017 is what bfloat16 loses by the latter.
  double rounding() const { return in_pairs() ? 2e-3 : 1e-6; }
  bool in_pairs() const { return GetParam() == at::kBFloat16; }

  torch::NoGradGuard no_grad;
};

TEST_P(Kernels, WinogradConvolutionEqualsTheDirectOne) {
  if (!winograd_takes(16, 32, GetParam())) GTEST_SKIP() << "not on this processor";
  struct Shape {
    int64_t batch, in, out, height, width;
  };
  for (const Shape& s : {Shape{1, 16, 32, 1, 1}, {2, 32, 32, 7, 4}, {3, 48, 64, 5, 9}, {1, 64, 96, 16, 31}, {2, 128, 32, 8, 8}}) {
    const at::Tensor x = normal({s.batch, s.in, s.height, s.width}), weight = normal({s.out, s.in, 3, 3}), shift = normal({s.batch, s.out}),
                     residual = normal({s.batch, s.out, s.height, s.width});
    const at::Tensor plain = at::conv2d(exact(x), exact(weight), {}, 1, 1), bias = exact(shift).unsqueeze(-1).unsqueeze(-1);
    for (const bool large_tiles : {false, true}) {
      if (large_tiles && !winograd_takes_large_tiles(s.in, s.out, GetParam())) continue;
      const at::Tensor packed = winograd_weight(weight, large_tiles);
      const double bound = in_pairs() ? 6e-3 : large_tiles ? 2e-6 : 1e-6;  // what is multiplied is rounded too
      EXPECT_LT(distance(winograd_convolution(x, packed, shift), plain + bias), bound) << x.sizes();
      EXPECT_LT(distance(winograd_convolution(x.contiguous(at::MemoryFormat::ChannelsLast), packed, shift[0], residual), plain + bias[0] + exact(residual)),
                bound)
          << x.sizes();
    }
    const at::Tensor upsampled = at::upsample_nearest2d(exact(x), {2 * s.height, 2 * s.width});
    EXPECT_LT(distance(winograd_doubled(x, winograd_weight(weight), shift), at::conv2d(upsampled, exact(weight), {}, 1, 1) + bias), in_pairs() ? 6e-3 : 1e-6)
        << x.sizes();
  }
}

TEST_P(Kernels, ProductEqualsALinearLayer) {
  if (!product_takes(6, 32, GetParam())) GTEST_SKIP() << "not on this processor";
  for (const auto& [rows, width, out] : {std::array<int64_t, 3>{1, 5, 32}, {7, 64, 96}, {97, 33, 64}, {250, 128, 128}}) {
    const int64_t in = in_pairs() ? width + width % 2 : width;
    const at::Tensor x = normal({2, rows, in}), weight = normal({out, in}), bias = normal({out}), residual = normal({2, rows, out});
    const at::Tensor plain = at::linear(exact(x), exact(weight)), packed = product_weight(weight);
    EXPECT_LT(distance(product(x, packed, {}), plain), rounding()) << rows;
    EXPECT_LT(distance(product(x, packed, bias, residual), plain + exact(bias) + exact(residual)), rounding()) << rows;
    if (!geglu_takes(out)) continue;
    const auto halves = (plain + exact(bias)).chunk(2, -1);
    EXPECT_LT(distance(geglu_product(x, packed, bias), halves[0] * at::gelu(halves[1])), rounding()) << rows;
  }
}

TEST_P(Kernels, AttentionEqualsTheOperatorForAnyWidthAndLength) {
  struct Shape {
    int64_t batch, heads, queries, keys, width;
  };
  const double bound = in_pairs() ? 3e-3 : 3e-6;  // weights are rounded too
  for (const Shape& s : {Shape{1, 1, 64, 1, in_pairs() ? 2 : 1}, {2, 3, 65, 77, 40}, {1, 2, 100, 100, 16}, {2, 1, 70, 31, 24}, {1, 2, 256, 256, 80}}) {
    const auto heads = [&](int64_t tokens) { return normal({s.batch, tokens, s.heads, s.width}, 2).transpose(1, 2); };
    const at::Tensor query = heads(s.queries), key = heads(s.keys), value = heads(s.keys);
    if (!attention_takes(query, key, value)) GTEST_SKIP() << "not on this processor";
    const at::Tensor plain = at::scaled_dot_product_attention(exact(query), exact(key), exact(value));
    EXPECT_LT(distance(flash_attention(query, key, value), plain.transpose(1, 2).flatten(2)), bound) << query.sizes();
  }
}

TEST_P(Kernels, AttentionStandsScoresOfAnySize) {
  const at::Tensor query = normal({1, 1, 64, 8}, 100), value = normal({1, 1, 64, 8});
  if (!attention_takes(query, query, value)) GTEST_SKIP() << "not on this processor";
  const at::Tensor plain = at::scaled_dot_product_attention(exact(query), exact(query), exact(value));
  EXPECT_LT(distance(flash_attention(query, query, value), plain.transpose(1, 2).flatten(2)), in_pairs() ? 3e-3 : 1e-3);
}

TEST_P(Kernels, GroupNormEqualsTheOperator) {
  if (!fast_norm_takes(48, GetParam())) GTEST_SKIP() << "not on this processor";
  for (const int64_t side : {1, 7, 40}) {
    const at::Tensor x = normal({3, 48, side, side + 2}, 30, 10), weight = normal({48}), bias = normal({48});
    const at::Tensor plain = at::group_norm(exact(x), 12, exact(weight), exact(bias), 1e-6);
    EXPECT_LT(distance(fast_group_norm(x, 12, weight, bias, 1e-6, false), plain), rounding()) << side;
    EXPECT_LT(distance(fast_group_norm(x, 12, weight, bias, 1e-6, true), at::silu(plain)), rounding()) << side;
  }
}

TEST_P(Kernels, SiluOfExtremesIsZeroOrTheValue) {
  if (!fast_norm_takes(16, GetParam())) GTEST_SKIP() << "not on this processor";
  const at::Tensor x = at::tensor({-1.f, 1.f}).to(GetParam()).view({1, 2, 1, 1}).repeat({1, 8, 1, 1}), weight = at::full({16}, 1000.).to(GetParam());
  const at::Tensor y = fast_group_norm(x, 1, weight, at::zeros({16}, x.options()), 0, true).flatten();
  EXPECT_NEAR(y[0].item<float>(), 0, 1e-30);
  EXPECT_NEAR(y[1].item<float>(), 1000, 4);
}

TEST_P(Kernels, ASampleDoesNotDependOnItsNeighboursOrOnThreads) {
  const at::Tensor maps = normal({3, 32, 34, 37}).contiguous(at::MemoryFormat::ChannelsLast), rows = normal({3, 101, 2, 32});
  const at::Tensor weight = normal({64, 32, 3, 3}), bias = normal({64}), scale = normal({32});
  if (!winograd_takes(32, 64, GetParam())) GTEST_SKIP() << "not on this processor";
  const auto all = [&](int64_t first, int64_t count) {
    const at::Tensor map = maps.narrow(0, first, count), x = rows.narrow(0, first, count), heads = x.transpose(1, 2);
    const at::Tensor packed = product_weight(weight.select(-1, 0).select(-1, 0));
    return std::vector<at::Tensor>{winograd_convolution(map, winograd_weight(weight), bias),
                                   winograd_convolution(map, winograd_weight(weight, winograd_takes_large_tiles(32, 64, GetParam())), bias),
                                   winograd_doubled(map, winograd_weight(weight), bias),
                                   product(x, packed, bias),
                                   geglu_product(x, packed, bias),
                                   flash_attention(heads, heads, heads),
                                   fast_group_norm(map, 8, scale, scale, 1e-5, true)};
  };
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto together = all(0, 3);
  at::set_num_threads(3);
  const auto threads = all(0, 3), alone = all(2, 1);
  at::set_num_threads(before);
  for (size_t i = 0; i < together.size(); ++i) {
    EXPECT_TRUE(at::equal(threads[i], together[i])) << i;
    EXPECT_TRUE(at::equal(alone[i][0], together[i][2])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Kernels, testing::Values(at::kFloat, at::kBFloat16), [](const auto& one) { return std::string(c10::toString(one.param)); });

TEST(KernelsTake, NoTypeThatTheyHaveNoLoopsForAndNoOddDepthInPairs) {
  for (const at::ScalarType type : {at::kHalf, at::kDouble}) {
    const at::Tensor rows = at::zeros({1, 1, 64, 16}, type);
    EXPECT_FALSE(winograd_takes(16, 32, type) || winograd_takes_large_tiles(16, 32, type) || product_takes(16, 32, type) || fast_norm_takes(16, type) ||
                 attention_takes(rows, rows, rows))
        << type;
  }
  EXPECT_FALSE(winograd_takes_large_tiles(16, 32, at::kBFloat16)) << "its rounding would grow with the transforms' factors";
  const at::Tensor odd = at::zeros({1, 1, 64, 15}, at::kBFloat16), rows = at::zeros({1, 1, 64, 16}, at::kBFloat16);
  EXPECT_FALSE(product_takes(15, 32, at::kBFloat16));
  EXPECT_FALSE(attention_takes(odd, odd, odd));
  EXPECT_FALSE(attention_takes(rows, rows, rows.to(at::kFloat)));
}

}  // namespace
}  // namespace syncdr::kernels
