#include "storage.h"

#include <gtest/gtest.h>

#include "syncdr/core/error.h"

namespace syncdr::plan {
namespace {

// 400,000 tiny pictures named "category-000/0000000.jpg" were packed so: 102 shards (in six parts), 133.6 MB, dataset.json 18,219 bytes; from 100,000 to
// 400,000 pack took 64 bytes more for each.
TEST(DataPlan, AgreesWithWhatWasMeasured) {
  DataPlan plan{.images = 400'000, .image_bytes = 286, .name_bytes = 24};
  const DataFigures figures = data_figures(plan);
  EXPECT_NEAR(figures.shards, 102, 6);
  EXPECT_NEAR(figures.bytes, 133.6e6, 3e6);
  EXPECT_NEAR(figures.manifest_bytes, 18'219, 1'000);
  plan.images = 100'000;
  EXPECT_NEAR((figures.pack_memory - data_figures(plan).pack_memory) / 300'000, 64, 1);
}

TEST(DataPlan, ABillionImagesTakeWhatTheyTake) {
  const DataFigures figures = data_figures({.images = 1'000'000'000});
  EXPECT_EQ(figures.shards, 244'141);
  EXPECT_GT(figures.bytes, 3e13);
  for (const double memory : {figures.pack_memory, figures.verify_memory, figures.open_memory}) EXPECT_LT(memory, 1e11);  // 100 bytes for each image
}

TEST(DataPlan, RefusesWhatItCannotUse) {
  EXPECT_THROW(print_plan({.command = "data"}), core::UsageError);
  EXPECT_THROW(print_plan({.command = "data", .values = {{"images", "5"}}, .measured = {"a.json"}}), core::UsageError);
  EXPECT_THROW(print_plan({.command = "data", .values = {{"images", "-5"}}}), core::UsageError);
  EXPECT_NO_THROW(print_plan({.command = "data", .values = {{"images", "5"}}}));
}

}  // namespace
}  // namespace syncdr::plan
