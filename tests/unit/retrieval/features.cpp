#include "syncdr/retrieval/features.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace syncdr::retrieval {
namespace {

at::Tensor pictures(int64_t count, int64_t side) { return at::randint(0, 256, {count, 3, side, side}, at::kByte).contiguous(at::MemoryFormat::ChannelsLast); }

at::Tensor features(Encoder& encoder, const at::Tensor& images) { return features_of(encoder, images, at::kCPU, images_a_call(at::kCPU, 64)); }

/// The encoder called as if nothing were known of kernels.
at::Tensor plainly(Encoder& encoder, const at::Tensor& images) {
  const at::NoGradGuard no_gradient;
  return encoder->forward(normalise_images(images, encoder->normalisation(), at::kCPU));
}

Encoder encoder_of(const std::string& name, int64_t size = 0) {
  Encoder encoder = make_encoder({.name = name, .size = size}, 2);
  encoder->eval();
  return encoder;
}

// Sizes on both sides of 20,480 numbers a layer; numbers of images on both sides of 1, 16 and of a call.
TEST(Features, HaveTheSameBitsInAnyNumberAtAnyPlaceWithAnyThreads) {
  torch::manual_seed(1);
  Encoder encoder = encoder_of("small");
  const int before = at::get_num_threads();
  for (const int64_t side : {64, 160, 192}) {
    const at::Tensor images = pictures(33, side);
    at::set_num_threads(1);
    const at::Tensor all = features(encoder, images);
    for (const auto& [count, threads] : {std::pair{1, 1}, {1, 2}, {2, 3}, {15, 2}, {16, 1}, {17, 3}, {33, 2}}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(at::equal(features(encoder, images.narrow(0, 33 - count, count)), all.narrow(0, 33 - count, count)))
          << count << " images of " << side << " pixels, " << threads << " threads";
    }
    EXPECT_TRUE(at::equal(features(encoder, images.flip(0)), all.flip(0))) << side;
    EXPECT_FALSE(at::equal(plainly(encoder, images.narrow(0, 0, 1)), all.narrow(0, 0, 1))) << "the limits have gone: so may the filling";
  }
  at::set_num_threads(before);
}

TEST(Features, AreThoseOfOneBatch) {
  torch::manual_seed(2);
  Encoder encoder = encoder_of("small");
  const at::Tensor images = pictures(35, 48), ours = features(encoder, images), whole = plainly(encoder, images);
  EXPECT_EQ(ours.sizes(), whole.sizes());
  EXPECT_TRUE(ours.allclose(whole, 1e-5, 1e-6));
  EXPECT_FALSE(ours.requires_grad());
}

// A head of 2,048 inputs, which LibTorch sums in as many parts as there are threads; attention; depthwise convolutions.
TEST(Features, OfPretrainedNetworksDoNotDependOnThreads) {
  torch::manual_seed(3);
  const int before = at::get_num_threads();
  for (const char* name : {"resnet50", "resnet50_clip", "tf_efficientnet_lite0"}) {
    Encoder encoder = encoder_of(name, 32);
    const at::Tensor images = pictures(3, 32);
    at::set_num_threads(1);
    const at::Tensor expected = features(encoder, images);
    for (const int threads : {2, 3}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(at::equal(features(encoder, images.flip(0)).flip(0), expected)) << name << ", " << threads << " threads";
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace syncdr::retrieval
