#include "syncdr/search/feature_files.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <torch/torch.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "some_features.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"
#include "syncdr/search/gallery.h"
#include "syncdr/search/model.h"

namespace syncdr::search {
namespace {

io::Identity settings_with(const std::string& model) { return {{"model", model}, {"dataset", "one"}}; }

TEST(FeatureFiles, HoldWhatWasWrittenAndSayWhatItIs) {
  const TemporaryFolder folder;
  const FeaturePart part{.file = "ink/test-00000-of-00001.h5", .domain = "ink", .split = "test", .first = 7, .rows = 2};
  const at::Tensor features = torch::tensor({{1.0F, 0.0F, 0.0F}, {0.0F, 0.6F, 0.8F}});
  write_features(folder.path(), part, settings_with("the hash"), {.features = features, .names = {"ink/a/1.png", "ink/b/ü.png"}, .categories = {4, -1}});
  const FeatureFile file(folder.path(), part, settings_with("the hash"), 3);
  EXPECT_TRUE(torch::equal(file.features(), features));
  EXPECT_THAT(file.names(), testing::ElementsAre("ink/a/1.png", "ink/b/ü.png"));
  EXPECT_THAT(file.categories(), testing::ElementsAre(4, -1));
  const io::Hdf5Reader hdf5(folder / part.file);
  EXPECT_THAT(hdf5.read<uint64_t>("/id"), testing::ElementsAre(io::hash64("ink/a/1.png"), io::hash64("ink/b/ü.png")));
  EXPECT_EQ(hdf5.int_attribute("normalised"), 1);
}

TEST(FeatureFiles, OthersThanAskedForAreRefusedByName) {
  const TemporaryFolder folder;
  const FeaturePart part{.file = "ink/test-00000-of-00001.h5", .domain = "ink", .split = "test", .rows = 2};
  write_features(folder.path(), part, settings_with("hash"), {.features = torch::eye(2), .names = {"a", "b"}, .categories = {0, 0}});
  FeaturePart other = part;
  other.first = 2;
  EXPECT_ERROR(FeatureFile(folder.path(), other, settings_with("hash"), 2), core::DataError, "its first is 0, 2 is needed");
  EXPECT_ERROR(FeatureFile(folder.path(), part, settings_with("another"), 2), core::DataError, "its model is hash, another is needed");
  EXPECT_ERROR(FeatureFile(folder.path(), part, {{"model", "hash"}, {"dataset", "another"}}, 2), core::DataError, "its settings_hash is");
  EXPECT_ERROR(FeatureFile(folder.path(), part, settings_with("hash"), 4), core::DataError, "its dim is 2, 4 is needed");
  other.file = "ink/none.h5";
  EXPECT_ERROR(FeatureFile(folder.path(), other, settings_with("hash"), 2), core::DataError, "none.h5");
}

TEST(FeatureFiles, ADamagedOneIsRefused) {
  const TemporaryFolder folder;
  const FeaturePart part{.file = "a/test-00000-of-00001.h5", .domain = "a", .split = "test", .rows = 64};
  write_features(folder.path(), part, settings_with("hash"),
                 {.features = torch::ones({64, 64}), .names = std::vector<std::string>(64, "name"), .categories = std::vector<int32_t>(64, 0x01020304)});
  const std::string good = io::read_file(folder / part.file);
  const auto opened_without = [&](const std::string& words) {
    std::string bytes = good;
    const size_t place = bytes.find(words);
    EXPECT_NE(place, std::string::npos) << words;
    bytes[place] ^= 1;
    test::put(folder / part.file, bytes);
    return FeatureFile(folder.path(), part, settings_with("hash"), 64);
  };
  EXPECT_ERROR(opened_without({"\0\0\x80\x3F\0\0\x80\x3F", 8}).features(), core::DataError, "do not match their hash");
  EXPECT_ERROR(opened_without("namename").names(), core::DataError, "/name does not match its hash");
  EXPECT_ERROR(opened_without("\4\3\2\1\4\3\2\1").categories(), core::DataError, "/category does not match its hash");
}

TEST(FeatureIndex, ReadsBackAndRefusesWhatCannotBe) {
  const TemporaryFolder folder;
  some_features(folder.path());
  const FeatureIndex index = FeatureIndex::read(folder.path());
  EXPECT_EQ(index.dim, 4);
  EXPECT_THAT(index.categories, testing::ElementsAre("cat", "dog"));
  EXPECT_EQ(index.parts.size(), 4u);
  const std::string good = io::read_file(folder / FeatureIndex::name);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const size_t place = text.find(from);
    EXPECT_NE(place, std::string::npos) << from;
    test::put(folder / FeatureIndex::name, text.replace(place, from.size(), to));
  };
  const std::pair<std::pair<const char*, const char*>, const char*> broken[] = {
      {{"\"dim\": 4", "\"dim\": 0"}, "\"dim\" is 0"},
      {{"\"version\": 1", "\"version\": 2"}, "another version"},
      {{"syncdr-embeddings", "other"}, "no list of features"},
      {{"a/test-00000", "../test-00000"}, "leaves its folder"},
      {{"a/test-00000", "a/gone-00000"}, "is missing"},
      {{"\"rows\": 3", "\"rows\": 0"}, "cannot be"},
      {{"\"cat\"", "7"}, "no name"},
  };
  for (const auto& [change, said] : broken) {
    with(change.first, change.second);
    EXPECT_ERROR(FeatureIndex::read(folder.path()), core::DataError, said);
  }
  EXPECT_ERROR(FeatureIndex::read(folder / "nothing"), core::DataError, "`syncdr embed` makes features");
}

TEST(FeatureIndex, WhatOthersHaveListedMeanwhileStays) {
  const TemporaryFolder folder;
  const io::Identity settings = settings_with("hash");
  FeatureIndex one{.settings = settings, .dim = 4}, other = one;
  EXPECT_TRUE(one.write_new(folder.path()));
  const FeaturePart ink{.file = "ink/test-00000-of-00001.h5", .domain = "ink", .split = "test", .rows = 2};
  const FeaturePart oil{.file = "oil/test-00000-of-00001.h5", .domain = "oil", .split = "test", .rows = 3};
  one.add(folder.path(), {oil});
  other.add(folder.path(), {ink});
  const FeatureIndex both = FeatureIndex::read(folder.path(), /*with_files=*/false);
  ASSERT_EQ(both.parts.size(), 2u);
  EXPECT_EQ(both.parts[0].domain, "ink");
  EXPECT_EQ(both.parts[1].rows, 3);
  other.settings = settings_with("another");
  EXPECT_ERROR(other.add(folder.path(), {ink}), core::UsageError, "model = hash, now it is another");
}

TEST(FeatureIndex, OfJobsThatWriteInOneInstantOneMakesItAndAllAreListed) {
  const TemporaryFolder folder;
  constexpr int jobs = 8;
  std::vector<pid_t> children;
  for (int job = 0; job < jobs; ++job) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    alarm(60);
    try {
      while (!std::filesystem::exists(folder / "go")) std::this_thread::yield();
      FeatureIndex index{.settings = settings_with("hash"), .dim = 4};
      const bool made = index.write_new(folder / "features");
      const std::string domain = std::to_string(job);
      index.add(folder / "features", {{.file = domain + "/test-00000-of-00001.h5", .domain = domain, .split = "test", .rows = 2}});
      _exit(made ? 1 : 0);
    } catch (...) {
      _exit(99);
    }
  }
  test::put(folder / "go", "");
  int made = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 99) << status;
    made += WEXITSTATUS(status);
  }
  EXPECT_EQ(made, 1);
  EXPECT_EQ(FeatureIndex::read(folder / "features", /*with_files=*/false).parts.size(), size_t{jobs});
  const std::filesystem::directory_iterator left(folder / "features");
  EXPECT_EQ(std::distance(begin(left), end(left)), 1) << "nothing but the list";
}

TEST(Model, FeaturesOfAnotherOneOrAnotherViewAreRefusedByName) {
  Model model{.name = "runs/x/encoder.safetensors", .identity = {{"model", "abc"}, {"train.augment.crop", "224"}}};
  expect_features_of(model, {{"model", "abc"}, {"train.augment.crop", "224"}, {"dataset", "whatever"}}, "there");
  EXPECT_ERROR(expect_features_of(model, {{"model", "def"}, {"train.augment.crop", "224"}}, "there"), core::DataError,
               "there: holds features of another model (hash def) than runs/x/encoder.safetensors (hash abc)");
  EXPECT_ERROR(expect_features_of(model, {{"model", "abc"}, {"train.augment.crop", "32"}}, "there"), core::DataError, "train.augment.crop = 32, now it is 224");
}

}  // namespace
}  // namespace syncdr::search
