#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "bounded_queue.h"
#include "pictures.h"

namespace syncdr::translate {
namespace {

TEST(BoundedQueue, HandsOutInOrderAndHoldsNoMoreThanItsCapacity) {
  BoundedQueue<int> queue(2);
  std::atomic<int> pushed{0};
  std::jthread producer([&] {
    for (int i = 0; i < 20; ++i) {
      queue.push(i);
      ++pushed;
    }
    queue.end();
  });
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(queue.pop(), i);
    EXPECT_LE(pushed, i + 1 + 2);
  }
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(BoundedQueue, AProducerThatWaitsForRoomIsReleasedByAbandon) {
  BoundedQueue<int> queue(1);
  queue.push(1);
  bool taken = true;
  std::jthread producer([&] { taken = queue.push(2); });
  queue.abandon();
  producer.join();
  EXPECT_FALSE(taken);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(BoundedQueue, AnErrorReachesBothSidesAndDropsWhatIsWithin) {
  BoundedQueue<int> queue(3);
  queue.push(1);
  queue.fail(std::make_exception_ptr(std::runtime_error("disk is full")));
  EXPECT_THROW(queue.pop(), std::runtime_error);
  EXPECT_THROW(queue.push(2), std::runtime_error);
}

data::Image gradient_image(int64_t height, int64_t width) {
  data::Image image{.height = height, .width = width, .pixels = std::vector<uint8_t>(static_cast<size_t>(3 * height * width))};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 7);
  return image;
}

TEST(Pictures, PlanesAndPixelsAreInversesAtTheSameSize) {
  const auto image = gradient_image(12, 12);
  auto batch = at::zeros({2, 3, 12, 12}, at::kByte);
  fill_planes(image, batch[1]);
  EXPECT_EQ(batch[1][2][3][4].item<int>(), image.pixels[3 * (3 * 12 + 4) + 2]);
  EXPECT_EQ(to_image(batch[1]).pixels, image.pixels);
  EXPECT_EQ(batch[0].sum().item<int64_t>(), 0);
}

TEST(Pictures, ALargerImageIsAveraged) {
  data::Image image{.height = 4, .width = 8, .pixels = std::vector<uint8_t>(4 * 8 * 3, 10)};
  for (size_t i = 0; i < 3; ++i) image.pixels[i] = 90;  // one pixel of the first cell of 2 x 4
  auto planes = at::zeros({3, 2, 2}, at::kByte);
  fill_planes(image, planes);
  EXPECT_EQ(planes[0][0][0].item<int>(), 20);
  EXPECT_EQ(planes[0][1][1].item<int>(), 10);
}

TEST(Pictures, AMaskIsResizedAndThenDecided) {
  auto plane = at::full({2, 2}, 7, at::kByte);
  fill_mask({255, 255, 255, 0, 0, 0, 255, 255}, 2, 4, plane);
  EXPECT_EQ(std::vector<uint8_t>(plane.data_ptr<uint8_t>(), plane.data_ptr<uint8_t>() + 4), (std::vector<uint8_t>{255, 255, 0, 255}));
}

TEST(Pictures, ContrastIsTheLargestRangeWithinOneChannel) {
  auto planes = at::zeros({3, 4, 4}, at::kByte);
  planes[0].fill_(255);  // pure red is blank
  EXPECT_EQ(contrast(planes), 0);
  planes[2][3][3] = 9;
  EXPECT_EQ(contrast(planes), 9);
}

}  // namespace
}  // namespace syncdr::translate
