#include <ATen/Parallel.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>
#include <torch/utils.h>

#include <array>
#include <vector>

#include "syncdr/kernels/fast_norm.h"
#include "syncdr/kernels/flash_attention.h"
#include "syncdr/kernels/product.h"
#include "syncdr/kernels/winograd.h"

/// Each kernel against LibTorch's operators in float64.
namespace syncdr::kernels {
namespace {

double distance(const at::Tensor& ours, const at::Tensor& exact) {
  EXPECT_EQ(ours.sizes(), exact.sizes());
  return ((ours - exact).norm() / exact.norm()).item<double>();
}

at::Tensor exact(const at::Tensor& values) { return values.to(at::kDouble); }

constexpr double rounding = 1e-6;

struct Kernels : testing::Test {
  Kernels() { torch::manual_seed(1); }
  torch::NoGradGuard no_grad;
};

TEST_F(Kernels, WinogradConvolutionEqualsTheDirectOne) {
  if (!winograd_takes(16, 32)) GTEST_SKIP() << "not on this processor";
  struct Shape {
    int64_t batch, in, out, height, width;
  };
  for (const Shape& s : {Shape{1, 16, 32, 1, 1}, {2, 32, 32, 7, 4}, {3, 48, 64, 5, 9}, {1, 64, 96, 16, 31}, {2, 128, 32, 8, 8}}) {
    const at::Tensor x = at::randn({s.batch, s.in, s.height, s.width}), weight = at::randn({s.out, s.in, 3, 3}), shift = at::randn({s.batch, s.out}),
                     residual = at::randn({s.batch, s.out, s.height, s.width});
    const at::Tensor plain = at::conv2d(exact(x), exact(weight), {}, 1, 1), packed = winograd_weight(weight);
    const at::Tensor bias = exact(shift).unsqueeze(-1).unsqueeze(-1);
    EXPECT_LT(distance(winograd_convolution(x, packed, shift), plain + bias), rounding) << x.sizes();
    EXPECT_LT(distance(winograd_convolution(x.contiguous(at::MemoryFormat::ChannelsLast), packed, shift[0], residual), plain + bias[0] + exact(residual)),
              rounding)
        << x.sizes();
  }
}

TEST_F(Kernels, ProductEqualsALinearLayer) {
  if (!product_takes(5, 32)) GTEST_SKIP() << "not on this processor";
  for (const auto& [rows, in, out] : {std::array<int64_t, 3>{1, 5, 32}, {7, 64, 96}, {97, 33, 64}, {250, 128, 128}}) {
    const at::Tensor x = at::randn({2, rows, in}), weight = at::randn({out, in}), bias = at::randn({out}), residual = at::randn({2, rows, out});
    const at::Tensor plain = at::linear(exact(x), exact(weight)), packed = product_weight(weight);
    EXPECT_LT(distance(product(x, packed, {}), plain), rounding) << rows;
    EXPECT_LT(distance(product(x, packed, bias, residual), plain + exact(bias) + exact(residual)), rounding) << rows;
    if (!geglu_takes(out)) continue;
    const auto halves = (plain + exact(bias)).chunk(2, -1);
    EXPECT_LT(distance(geglu_product(x, packed, bias), halves[0] * at::gelu(halves[1])), rounding) << rows;
  }
}

TEST_F(Kernels, AttentionEqualsTheOperatorForAnyWidthAndLength) {
  struct Shape {
    int64_t batch, heads, queries, keys, width;
  };
  for (const Shape& s : {Shape{1, 1, 64, 1, 1}, {2, 3, 65, 77, 40}, {1, 2, 100, 100, 16}, {2, 1, 70, 31, 24}, {1, 2, 256, 256, 80}}) {
    const auto heads = [&](int64_t tokens) { return (2 * at::randn({s.batch, tokens, s.heads, s.width})).transpose(1, 2); };
    const at::Tensor query = heads(s.queries), key = heads(s.keys), value = heads(s.keys);
    if (!attention_takes(query, key, value)) GTEST_SKIP() << "not on this processor";
    const at::Tensor plain = at::scaled_dot_product_attention(exact(query), exact(key), exact(value));
    EXPECT_LT(distance(flash_attention(query, key, value), plain.transpose(1, 2).flatten(2)), 3 * rounding) << query.sizes();
  }
}

TEST_F(Kernels, AttentionStandsScoresOfAnySize) {
  const at::Tensor query = 100 * at::randn({1, 1, 64, 8}), value = at::randn({1, 1, 64, 8});
  if (!attention_takes(query, query, value)) GTEST_SKIP() << "not on this processor";
  const at::Tensor plain = at::scaled_dot_product_attention(exact(query), exact(query), exact(value));
  EXPECT_LT(distance(flash_attention(query, query, value), plain.transpose(1, 2).flatten(2)), 1e-3);
}

TEST_F(Kernels, GroupNormEqualsTheOperator) {
  if (!fast_norm_takes(48)) GTEST_SKIP() << "not on this processor";
  for (const int64_t side : {1, 7, 40}) {
    const at::Tensor x = at::randn({3, 48, side, side + 2}) * 30 + 10, weight = at::randn({48}), bias = at::randn({48});
    const at::Tensor plain = at::group_norm(exact(x), 12, exact(weight), exact(bias), 1e-6);
    EXPECT_LT(distance(fast_group_norm(x, 12, weight, bias, 1e-6, false), plain), rounding) << side;
    EXPECT_LT(distance(fast_group_norm(x, 12, weight, bias, 1e-6, true), at::silu(plain)), rounding) << side;
  }
}

TEST_F(Kernels, ASampleDoesNotDependOnItsNeighboursOrOnThreads) {
  const at::Tensor maps = at::randn({3, 32, 34, 37}).contiguous(at::MemoryFormat::ChannelsLast), rows = at::randn({3, 101, 2, 32});
  const at::Tensor weight = at::randn({32, 32, 3, 3}), bias = at::randn({32});
  if (!winograd_takes(32, 32)) GTEST_SKIP() << "not on this processor";
  const auto all = [&](int64_t first, int64_t count) {
    const at::Tensor map = maps.narrow(0, first, count), x = rows.narrow(0, first, count), heads = x.transpose(1, 2);
    return std::vector<at::Tensor>{winograd_convolution(map, winograd_weight(weight), bias),
                                   product(x, product_weight(weight.select(-1, 0).select(-1, 0)), bias), flash_attention(heads, heads, heads),
                                   fast_group_norm(map, 8, bias, bias, 1e-5, true)};
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

}  // namespace
}  // namespace syncdr::kernels
