#include "unpaired_data.h"

#include <ATen/ops/cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::fit {
namespace {

/// Pictures of one colour, whose red numbers them: domain "a" has 0 to 4 for training and 5 to 8 in the split "extra", "b" 0 to 5 for training.
class UnpairedData : public testing::Test {
 protected:
  UnpairedData() {
    data::Manifest manifest{.kind = "dataset", .name = "numbers", .domains = {"a", "b"}};
    write(manifest, "a", "train", 0, 5);
    write(manifest, "a", "extra", 5, 9);
    write(manifest, "b", "train", 0, 6);
    manifest.write(folder_ / "dataset.json");
  }

  void write(data::Manifest& manifest, const std::string& domain, const std::string& split, int64_t first, int64_t last) {
    const std::string file = fmt::format("real/{}/{}-00000-of-00001.h5", domain, split);
    data::ShardWriter writer(folder_ / file, {.domain = domain, .split = split});
    for (int64_t number = first; number < last; ++number) {
      data::Image image{8, 8, std::vector<uint8_t>(8 * 8 * 3, static_cast<uint8_t>(10 * number))};
      writer.add({.key = fmt::format("{}/{}", domain, number), .label = -1, .encoded = data::encode(image, data::Codec::png)});
    }
    writer.seal();
    manifest.entries.push_back(data::make_entry(folder_.path(), file, last - first));
  }

  UnpairedBatches batches(const std::string& extra, int64_t batch, training::Part part) const {
    const data::AugmentConfig plain{.resize = 8, .crop = 8, .flip = 0};
    return {data::Dataset(folder_.path()), {"a", "b"}, {.batch = batch, .augment = plain, .extra = extra, .keys = "x"}, 7, part};
  }

  static std::vector<int64_t> numbers_of(const at::Tensor& images) {
    std::vector<int64_t> numbers;
    for (int64_t i = 0; i < images.size(0); ++i) numbers.push_back(images[i][0][0][0].item<int64_t>() / 10);
    return numbers;
  }

  TemporaryFolder folder_;
};

TEST_F(UnpairedData, AnEpochHasEachImageOfBothSplitsOnce) {
  const UnpairedBatches all = batches("extra", 3, {0, 3});
  std::vector<int64_t> a, b;
  for (int64_t step = 0; step < 3; ++step) {
    const std::vector<int64_t> numbers = numbers_of(all.load(step)[0]);
    a.insert(a.end(), numbers.begin(), numbers.end());
  }
  for (int64_t step = 0; step < 2; ++step) {  // b's epoch is shorter
    const std::vector<int64_t> numbers = numbers_of(all.load(step)[1]);
    b.insert(b.end(), numbers.begin(), numbers.end());
  }
  EXPECT_THAT(a, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(b, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5));
}

TEST_F(UnpairedData, PartsOfRanksAreTheWholeBatchInOrder) {
  const UnpairedBatch whole = batches("extra", 3, {0, 3}).load(4), first = batches("extra", 3, {0, 2}).load(4), second = batches("extra", 3, {2, 3}).load(4);
  EXPECT_TRUE(at::cat({first[0], second[0]}).equal(whole[0]));
  EXPECT_TRUE(at::cat({first[1], second[1]}).equal(whole[1]));
}

TEST_F(UnpairedData, WithoutTheExtraSplitOnlyTrainingImagesCome) {
  const UnpairedBatches all = batches("", 5, {0, 5});
  EXPECT_THAT(numbers_of(all.load(0)[0]), testing::UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(numbers_of(all.load(1)[0]), testing::UnorderedElementsAre(0, 1, 2, 3, 4));
}

TEST_F(UnpairedData, ABatchThatIsTooLargeIsRefusedByItsSetting) {
  EXPECT_ERROR(batches("", 6, {0, 6}), core::UsageError, "domain a has 5 training images, fewer than a batch of 6: lower x.batch");
  EXPECT_ERROR(batches("more", 2, {0, 2}), core::UsageError, "none of a, b has a split \"more\"");
}

}  // namespace
}  // namespace syncdr::fit
