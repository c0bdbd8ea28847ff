#include "syncdr/search/gallery.h"

#include <gmock/gmock.h>

#include "some_features.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"

namespace syncdr::search {
namespace {

std::vector<std::string> names_of(const std::vector<Match>& matches) {
  std::vector<std::string> names;
  for (const Match& match : matches) names.push_back(match.name);
  return names;
}

TEST(Gallery, StreamedOrInMemoryFindsTheSameInTheOrderOfScoreThenRow) {
  const TemporaryFolder folder;
  some_features(folder.path());
  const at::Tensor queries = torch::tensor({{1.0F, 0.5F, 0.0F, 0.0F}, {0.0F, 0.0F, 2.0F, 0.0F}});
  const std::vector<std::string> first{"a-b/0.png", "a-b/3.png", "a/0.png", "a/3.png", "a/6.png", "a-b/1.png", "a-b/4.png", "a/1.png"};
  for (const uint64_t memory : {uint64_t{0}, uint64_t{1} << 20})
    for (const int64_t chunk : {1, 4, 5, 12, 100}) {
      Gallery gallery(folder.path(), {.memory = memory, .chunk = chunk});
      for (int again = 0; again < 2; ++again) {
        const auto found = gallery.search(queries, 8);
        ASSERT_EQ(found.size(), 2u);
        EXPECT_EQ(names_of(found[0]), first) << memory << " bytes, chunks of " << chunk;
        EXPECT_EQ(found[0][5].score, 0.5);
        EXPECT_EQ(found[1][0].score, 2.0);
        EXPECT_THAT(names_of(gallery.search(queries, 2, "a")[1]), testing::ElementsAre("a/2.png", "a/5.png"));
        EXPECT_EQ(gallery.search(queries, 100, "a")[0].size(), 7u) << "no more than there are";
      }
    }
}

TEST(Gallery, SaysWhereAMatchIsAndWhatItsCategoryIsCalled) {
  const TemporaryFolder folder;
  some_features(folder.path());
  Gallery gallery(folder.path(), {.domains = {"a"}});
  EXPECT_EQ(gallery.rows(), 7);
  EXPECT_THAT(gallery.domains(), testing::ElementsAre("a"));
  const auto found = gallery.search(torch::tensor({{0.0F, 1.0F, 0.5F, 0.0F}}), 4).front();
  EXPECT_THAT(names_of(found), testing::ElementsAre("a/1.png", "a/4.png", "a/2.png", "a/5.png"));
  EXPECT_EQ(found[1].row, 4);
  EXPECT_EQ(found[1].split, "test");
  EXPECT_EQ(gallery.category_name(found[1]), "dog");
  EXPECT_EQ(gallery.category_name(found[3]), "2") << "a label without a name";
  EXPECT_EQ(gallery.category_name({.category = -1}), "");
}

TEST(Gallery, RefusesWhatItHasNot) {
  const TemporaryFolder folder;
  some_features(folder.path());
  EXPECT_ERROR(Gallery(folder.path(), {.domains = {"c"}}), core::UsageError, "the domain \"c\", but of a, a-b");
  EXPECT_ERROR(Gallery(folder.path(), {.splits = {"train"}}), core::UsageError, "the split \"train\", but of test");
  Gallery gallery(folder.path(), {.domains = {"a"}});
  EXPECT_ERROR(gallery.search(torch::ones({1, 4}), 0), core::UsageError, "k");
  EXPECT_ERROR(gallery.search(torch::ones({1, 4}), 1, "a-b"), core::UsageError, "the domain \"a-b\", but of a");
  FeatureIndex index = FeatureIndex::read(folder.path());
  index.parts.clear();
  index.write_new(folder / "empty");
  EXPECT_ERROR(Gallery(folder / "empty", {}), core::DataError, "was interrupted");
}

}  // namespace
}  // namespace syncdr::search
