#include "syncdr/data/dataset.h"

#include <gtest/gtest.h>

#include "small_dataset.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

using namespace syncdr;
using namespace syncdr::data;
namespace fs = std::filesystem;

namespace {

class DatasetFolder : public testing::Test {
 protected:
  DatasetFolder() { testing_small::write_dataset(folder.path()); }
  /// dataset.json with one text replaced by another.
  void edit(const std::string& old_text, const std::string& new_text) {
    std::string text = io::read_file(folder / "dataset.json");
    const size_t place = text.find(old_text);
    ASSERT_NE(place, std::string::npos) << old_text;
    test::put(folder / "dataset.json", text.replace(place, old_text.size(), new_text));
  }
  TemporaryFolder folder;
};

TEST_F(DatasetFolder, ManifestComesBackEqual) {
  Manifest manifest{.kind = "translation", .name = "n", .domains = {"a", "b c"}, .settings = {{"x", "1"}}};
  manifest.entries = {{"unit-00000.h5", 3, int64_t{1} << 40, std::string(32, 'a')}};
  manifest.write(folder / "m.json");
  const Manifest back = Manifest::read(folder / "m.json");
  EXPECT_EQ(back.kind, manifest.kind);
  EXPECT_EQ(back.domains, manifest.domains);
  EXPECT_EQ(back.settings, manifest.settings);
  EXPECT_EQ(back.entries.at(0).bytes, int64_t{1} << 40);
  EXPECT_EQ(back.entries.at(0).file, "unit-00000.h5");
}

TEST_F(DatasetFolder, RowsOfAllShardsAreOneList) {
  const Dataset dataset(folder.path());
  const ShardList list = dataset.real("a", "train");
  EXPECT_EQ(list.rows(), 6);
  EXPECT_EQ(list.shards(), 2);
  EXPECT_EQ(list.locate(2), (std::pair<int64_t, int64_t>{0, 2}));
  EXPECT_EQ(list.locate(3), (std::pair<int64_t, int64_t>{1, 0}));
  for (int64_t row = 0; row < 6; ++row) {
    EXPECT_EQ(list.key(row), testing_small::key_of("a", row));
    EXPECT_EQ(list.image(row).pixels[1], row);
    EXPECT_EQ(list.label(row), row % 3);
  }
  EXPECT_THROW(list.locate(6), core::BugError);
}

TEST_F(DatasetFolder, EmptyShardsAreSkipped) {
  ShardWriter(folder / "empty.h5", {.domain = "a", .split = "train"}).seal();
  const ShardList list({folder / "empty.h5", folder / "real/a/train-00000-of-00002.h5", folder / "empty.h5", folder / "real/a/train-00001-of-00002.h5"});
  EXPECT_EQ(list.rows(), 6);
  EXPECT_EQ(list.locate(0), (std::pair<int64_t, int64_t>{1, 0}));
  EXPECT_EQ(list.locate(3), (std::pair<int64_t, int64_t>{3, 0}));
}

TEST_F(DatasetFolder, WhatIsMissingIsNamedTogetherWithWhatThereIs) {
  const Dataset dataset(folder.path());
  EXPECT_ERROR(dataset.real("a", "test"), core::DataError, "no a/test. There are: a/train, b/train.");
  EXPECT_ERROR(dataset.real("c", "train"), core::DataError, "no c/train");
  EXPECT_ERROR(dataset.synthetic("a", "b", "cut"), core::DataError, "not made or is not finished");
  EXPECT_ERROR(dataset.synthetic_folder("a", "c", "cut"), core::DataError, "no domain \"c\". It has: a, b.");
  for (const char* run : {"", "..", "x/y"}) EXPECT_ERROR(dataset.synthetic_folder("a", "b", run), core::DataError, "name of a run");
  EXPECT_ERROR(Dataset(folder / "none"), core::DataError, "dataset.json: is missing");
}

TEST_F(DatasetFolder, HasTheSplitsOfItsManifest) {
  const Dataset dataset(folder.path());
  EXPECT_TRUE(dataset.has("a", "train"));
  EXPECT_FALSE(dataset.has("a", "extra"));
  EXPECT_FALSE(dataset.has("nobody", "train"));
}

TEST_F(DatasetFolder, MissingCutAndExchangedFilesAreRefused) {
  const fs::path first = folder / "real/a/train-00000-of-00002.h5", second = folder / "real/a/train-00001-of-00002.h5";
  fs::rename(first, folder / "kept");
  EXPECT_ERROR(Dataset(folder.path()), core::DataError, "train-00000-of-00002.h5: No such file");
  fs::copy(folder / "kept", first);
  fs::resize_file(first, fs::file_size(first) - 1);
  EXPECT_ERROR(Dataset(folder.path()), core::DataError, "the manifest says");
  fs::copy(folder / "kept", first, fs::copy_options::overwrite_existing);
  EXPECT_NO_THROW(check_entry(folder.path(), Dataset(folder.path()).manifest().entries[0], true));
  std::string content = io::read_file(first);
  content.back() = static_cast<char>(content.back() ^ 1);
  test::put(first, content);
  EXPECT_NO_THROW(check_entry(folder.path(), Dataset(folder.path()).manifest().entries[0], false));
  EXPECT_ERROR(check_entry(folder.path(), Dataset(folder.path()).manifest().entries[0], true), core::DataError, "changed or damaged");
}

TEST_F(DatasetFolder, ManifestsThatLieAreRefused) {
  const std::string whole = io::read_file(folder / "dataset.json");
  const auto refused = [&](const char* old_text, const char* new_text, const char* message) {
    test::put(folder / "dataset.json", whole);
    edit(old_text, new_text);
    EXPECT_ERROR(Dataset(folder.path()).real("a", "train"), core::DataError, message);
  };
  refused("\"version\": 1", "\"version\": 2", "format version 2");
  refused("real/a/train-00000", ("real/a" + std::string(200'000, 'a') + "/train-00000").c_str(), "at most 4096 are possible");
  refused("syncdr-manifest", "else", "no manifest of syncdr");
  refused("\"kind\": \"dataset\"", "\"kind\": \"translation\"", "manifest of a translation");
  refused("real/a/train-00000", "../a/train-00000", "leaves its folder");
  refused("real/a/train-00000-of-00002.h5", "/etc/passwd", "absolute path");
  refused("real/a/train-00000", "real/a/train-00001", "occurs twice");
  refused("\"rows\": 3", "\"rows\": 4", "the manifest says 4");
  refused("\"rows\": 3", "\"rows\": -1", "cannot be");
  refused("\"rows\": 3", "\"rows\": \"3\"", "is not an integer");
  refused("\"b\"", "\"../b\"", "name of a domain");
  refused("\"entries\"", "\"entry\"", "\"entries\" is missing");
}

TEST_F(DatasetFolder, ASplitWithAMissingShardIsRefused) {
  Manifest manifest = Manifest::read(folder / "dataset.json");
  manifest.entries.erase(manifest.entries.begin() + 1);
  manifest.write(folder / "dataset.json");
  EXPECT_ERROR(Dataset(folder.path()).real("a", "train"), core::DataError, "shard 1 of 2 of a/train is missing");
}

TEST_F(DatasetFolder, AShardOfAnotherDomainOrSplitIsRefused) {
  Manifest manifest = Manifest::read(folder / "dataset.json");
  fs::copy(folder / "real/b/train-00000-of-00001.h5", folder / "real/a/val-00000-of-00001.h5");
  fs::copy(folder / "real/b/train-00000-of-00001.h5", folder / "real/b/val-00000-of-00001.h5");
  for (const char* file : {"real/a/val-00000-of-00001.h5", "real/b/val-00000-of-00001.h5"}) manifest.entries.push_back(make_entry(folder.path(), file, 4));
  manifest.write(folder / "dataset.json");
  EXPECT_ERROR(Dataset(folder.path()).real("a", "val"), core::DataError, "holds domain \"b\"");
  EXPECT_ERROR(Dataset(folder.path()).real("b", "val"), core::DataError, "holds split \"train\"");
}

TEST_F(DatasetFolder, TranslationsOfAnotherDatasetAreRefused) {
  const Dataset dataset(folder.path());
  testing_small::write_both_runs(dataset, "cut", 2);
  EXPECT_EQ(dataset.synthetic("a", "b", "cut").rows(), 12);
  edit("\"name\": \"small\"", "\"name\": \"other\"");
  EXPECT_ERROR(Dataset(folder.path()).synthetic("a", "b", "cut"), core::DataError, "made from another dataset");
}

}  // namespace
