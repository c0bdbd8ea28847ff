#include "run_masks.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include "data/small_dataset.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::translate {
namespace {

using data::testing_small::key_of;

/// The six images of domain "a", 8 x 8, with a mask file for each in a folder of their own.
class Masks : public testing::Test {
 protected:
  Masks() {
    data::testing_small::write_dataset(folder_.path());
    std::filesystem::create_directory(folder_ / "masks");
    std::string lines;
    for (int64_t row = 0; row < 6; ++row) {
      put_mask(row, 8, [row](int64_t y, int64_t) { return y >= row; });
      lines += fmt::format("{}\t{}.png\n", key_of("a", row), row);
    }
    test::put(list_, lines);
    rows_ = data::Dataset(folder_.path()).real("a", "train");
  }
  std::filesystem::path mask_file(int64_t row) const { return folder_ / fmt::format("masks/{}.png", row); }
  void put_mask(int64_t row, int64_t side, const std::function<bool(int64_t, int64_t)>& object) const {
    data::Image mask{side, side, {}};
    for (int64_t i = 0; i < side * side; ++i) mask.pixels.insert(mask.pixels.end(), 3, object(i / side, i % side) ? 200 : 100);
    const auto bytes = data::encode(mask, data::Codec::png);
    test::put(mask_file(row), {bytes.begin(), bytes.end()});
  }
  at::Tensor filled(const RunMasks& masks, int64_t row, const data::Image& image) const {
    at::Tensor plane = at::full({4, 4}, 9, at::kByte);
    masks.fill(row, image, plane);
    return plane;
  }

  TemporaryFolder folder_;
  std::string list_ = folder_ / "masks/masks.tsv";
  data::ShardList rows_;
};

TEST_F(Masks, AreReadFromFilesBesideTheirList) {
  const RunMasks masks(list_, rows_);
  EXPECT_TRUE(masks.given());
  const at::Tensor all = filled(masks, 0, rows_.image(0)), half = filled(masks, 4, rows_.image(4));
  EXPECT_TRUE((all == 255).all().item<bool>());
  EXPECT_TRUE((half.narrow(0, 0, 2) == 0).all().item<bool>());
  EXPECT_TRUE((half.narrow(0, 2, 2) == 255).all().item<bool>());
  put_mask(4, 16, [](int64_t y, int64_t) { return y >= 8; });
  EXPECT_TRUE(filled(masks, 4, rows_.image(4)).equal(half)) << "of another size";
}

TEST_F(Masks, AreTheAlphaChannel) {
  const RunMasks masks("alpha", rows_);
  data::Image image = rows_.image(0);
  EXPECT_ERROR(filled(masks, 0, image), core::DataError, "no alpha channel");
  image.alpha.assign(64, 255);
  std::fill_n(image.alpha.begin(), 32, 127);
  const at::Tensor plane = filled(masks, 0, image);
  EXPECT_TRUE((plane.narrow(0, 0, 2) == 0).all().item<bool>());
  EXPECT_TRUE((plane.narrow(0, 2, 2) == 255).all().item<bool>());
  EXPECT_EQ(masks.provenance(), (std::map<std::string, std::string>{{"masks", "alpha"}}));
  image.alpha.assign(64, 0);
  EXPECT_ERROR(filled(masks, 0, image), core::DataError, "shows no object");
}

TEST_F(Masks, NoneAreGivenWhereNothingIsNamed) {
  EXPECT_FALSE(RunMasks("", rows_).given());
  EXPECT_TRUE(RunMasks().provenance().empty());
}

TEST_F(Masks, WhatTheyHoldIsPartOfTheRun) {
  const RunMasks masks(list_, rows_);
  const auto before = masks.provenance();
  EXPECT_EQ(before.at("masks").size(), 32U);
  EXPECT_EQ(masks.provenance(), before);
  put_mask(5, 8, [](int64_t y, int64_t) { return y > 1; });
  EXPECT_NE(masks.provenance(), before);
}

TEST_F(Masks, BrokenOnesAreNamed) {
  const RunMasks masks(list_, rows_);
  put_mask(1, 8, [](int64_t, int64_t) { return false; });
  EXPECT_ERROR(filled(masks, 1, rows_.image(1)), core::DataError, "shows no object");
  test::put(mask_file(2), "no picture");
  EXPECT_ERROR(filled(masks, 2, rows_.image(2)), core::DataError, "masks/2.png: is neither JPEG nor PNG");
  data::Image wide = rows_.image(3);
  wide.width = 16;
  EXPECT_ERROR(filled(masks, 3, wide), core::DataError, "masks/3.png: has 8 x 8 pixels, the image 16 x 8");
  std::filesystem::remove(mask_file(4));
  EXPECT_ERROR(RunMasks(list_, rows_), core::DataError, fmt::format("the mask of \"{}\" is not there", key_of("a", 4)));
  test::put(list_, key_of("a", 0) + "\t0.png\n");
  EXPECT_ERROR(RunMasks(list_, rows_), core::DataError, fmt::format("has no line for \"{}\"", key_of("a", 1)));
  test::put(list_, "a\n");
  EXPECT_ERROR(RunMasks(list_, rows_), core::DataError, "line 1: is not KEY<tab>PATH");
  test::put(list_, key_of("a", 0) + std::string("\t\0.png\n", 7));
  EXPECT_ERROR(RunMasks(list_, rows_), core::DataError, "line 1: holds a zero byte");
  EXPECT_ERROR(RunMasks((folder_ / "none.tsv").string(), rows_), core::Error, "none.tsv");
}

TEST_F(Masks, JpegsHaveNoAlpha) {
  data::ShardWriter writer(folder_ / "jpeg.h5", {.domain = "a", .split = "train", .codec = data::Codec::jpeg});
  writer.add({"a/1", 0, data::encode(data::testing_small::plain_image(1, 2), data::Codec::jpeg)});
  writer.seal();
  EXPECT_ERROR(RunMasks("alpha", data::ShardList({folder_ / "jpeg.h5"})), core::DataError, "jpeg, which has no alpha");
}

}  // namespace
}  // namespace syncdr::translate
