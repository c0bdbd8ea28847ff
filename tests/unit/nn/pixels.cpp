#include "syncdr/nn/pixels.h"

#include <ATen/ops/randint.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

using namespace syncdr;

// Bytes in another layout take the plain way: subtract, divide.
TEST(NormalisedPixels, HaveTheBitsOfThePlainFormulaAndKeepChannelsLast) {
  const at::Tensor mean = at::tensor({123.675F, 116.28F, 103.53F}), deviation = at::tensor({58.395F, 57.12F, 57.375F});
  const at::Tensor plain = at::randint(0, 256, {5, 3, 70, 91}, at::kByte), last = plain.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor expected = (plain.to(at::kFloat) - mean.view({1, 3, 1, 1})) / deviation.view({1, 3, 1, 1});
  const at::Tensor ours = nn::normalised(last, mean, deviation);
  EXPECT_TRUE(ours.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(ours.equal(expected));
  EXPECT_TRUE(nn::normalised(plain, mean, deviation).equal(expected));
  EXPECT_TRUE(nn::normalised(last.slice(0, 2, 4), mean, deviation).equal(expected.slice(0, 2, 4)));
  EXPECT_EQ(nn::normalised(last.slice(0, 0, 0), mean, deviation).sizes(), (at::IntArrayRef{0, 3, 70, 91}));
}
