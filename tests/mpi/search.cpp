// rooms: search
// after: mpi.search.1
#include <fmt/ranges.h>

#include <csignal>
#include <set>

#include "syncdr/core/stop.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/search/embed.h"
#include "syncdr/search/gallery.h"
#include "tiny_dataset_test.h"

namespace syncdr {
namespace {

namespace fs = std::filesystem;
using test::world;

class FeaturesOverRanks : public test::TinyDatasetTest {
 protected:
  FeaturesOverRanks() : TinyDatasetTest({.first = 40, .second = 27, .runs = {}}) {}

  static search::Model model(uint64_t seed = 5) {
    retrieval::EncoderConfig config;
    config.name = "small";
    config.dim = 16;
    data::AugmentConfig views;
    views.resize = views.crop = 32;
    return search::make_model(retrieval::make_encoder(config, seed), config, views, "a small one", world().device());
  }
  search::EmbedResult embed(search::Model& model, const std::vector<std::string>& domains, int64_t rows = 16) {
    return search::embed_dataset(world(), model, *dataset_, {.domains = domains, .folder = folder_ / "features", .rows = rows});
  }
  /// Name and hash of each file.
  std::string files() const {
    std::set<std::string> lines;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / "features"))
      if (entry.is_regular_file()) lines.insert(fmt::format("{} {}\n", entry.path().lexically_relative(folder_).string(), io::hash_file(entry.path())));
    return fmt::format("{}", fmt::join(lines, ""));
  }
};

TEST_F(FeaturesOverRanks, FilesHaveTheSameBytesOnAnyNumberOfRanks) {
  search::Model encoder = model();
  const auto result = embed(encoder, {"warm", "cold"});
  EXPECT_EQ(result.images, 67);
  EXPECT_EQ(result.skipped, 0);
  EXPECT_EQ(result.parts, 3 + 2);
  world().root_only("comparing with one rank", [&] {
    const fs::path reference = test::beside_program("mpi_search", "files.txt");
    if (world().size() == 1) io::write_file(reference, files());
    EXPECT_EQ(files(), io::read_file(reference));
  });
}

TEST_F(FeaturesOverRanks, WhatIsThereIsKeptWhatIsDamagedOrLacksIsMadeAndDomainsAreAdded) {
  search::Model encoder = model();
  embed(encoder, {"warm"});
  std::string before;
  world().root_only("damaging a file", [&] {
    before = files();
    const fs::path one = folder_ / "features/warm/train-00000-of-00003.h5";
    std::string bytes = io::read_file(one);
    bytes.resize(bytes.size() - 1000);
    io::write_file(one, bytes);
    fs::remove(folder_ / "features/warm/train-00002-of-00003.h5");
  });
  const auto again = embed(encoder, {"warm"});
  EXPECT_EQ(again.images, 16 + 8);
  EXPECT_EQ(again.skipped, 16);
  world().root_only("comparing", [&] { EXPECT_EQ(files(), before); });
  EXPECT_EQ(embed(encoder, {"cold"}).parts, 3 + 2);
  world().root_only("searching", [&] {
    search::Gallery gallery(folder_ / "features", {});
    EXPECT_EQ(gallery.rows(), 67);
    const auto list = dataset_->real("cold", "train");
    const auto found = gallery.search(search::features_of(encoder, {list.image(3)}, world().device()), 1).front();
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].name, list.key(3));
    EXPECT_NEAR(found[0].score, 1, 1e-5);
  });
}

TEST_F(FeaturesOverRanks, OtherSettingsAndWrongNamesAreRefused) {
  search::Model encoder = model(), other = model(6);
  embed(encoder, {"warm"});
  EXPECT_NE(error_of(core::ExitCode::usage, [&] { embed(encoder, {"warm"}, 8); }).find("rows = 16"), std::string::npos);
  EXPECT_NE(error_of(core::ExitCode::usage, [&] { embed(other, {"warm"}); }).find("other model"), std::string::npos);
  EXPECT_NE(error_of(core::ExitCode::usage, [&] { embed(encoder, {"mild"}); }).find("no domain \"mild\""), std::string::npos);
}

/// The last one: nothing takes a signal back.
TEST_F(FeaturesOverRanks, ASignalToOneRankStopsAllAndListsNothing) {
  search::Model encoder = model();
  core::watch_stop_signals("USR2");
  if (world().is_root()) raise(SIGUSR2);
  EXPECT_NE(error_of(core::ExitCode::requeue, [&] { embed(encoder, {"warm", "cold"}); }).find("the same command goes on"), std::string::npos);
  EXPECT_TRUE(search::FeatureIndex::read(folder_ / "features").parts.empty());
}

}  // namespace
}  // namespace syncdr
