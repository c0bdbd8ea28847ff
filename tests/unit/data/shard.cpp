#include "syncdr/data/shard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "support/in_child.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"

using namespace syncdr;
using namespace syncdr::data;
namespace fs = std::filesystem;

namespace {

Image image_of(int number) { return {8, 8, std::vector<uint8_t>(192, static_cast<uint8_t>(number * 7))}; }

const ShardHeader header{
    .domain = "ink", .split = "train", .codec = Codec::png, .height = 8, .width = 8, .provenance = {{"translator", "cut"}, {"prompts", "[\"a\"]"}}};

Row row_of(int number) { return {"ink/c/" + std::to_string(number) + ".png", number - 1, encode(image_of(number), Codec::png)}; }

ShardWriter filled(const fs::path& path, int rows) {
  ShardWriter writer(path, header);
  for (int i = 0; i < rows; ++i) writer.add(row_of(i));
  return writer;
}

class Shard : public testing::Test {
 protected:
  TemporaryFolder folder;
  fs::path path = folder / "train-00000-of-00001.h5";
};

TEST_F(Shard, EverythingComesBackEqual) {
  filled(path, 5).seal();
  const ShardReader reader(path);
  EXPECT_EQ(reader.rows(), 5);
  EXPECT_FALSE(reader.is_translation());
  EXPECT_EQ(reader.header().domain, "ink");
  EXPECT_EQ(reader.header().split, "train");
  EXPECT_EQ(reader.header().codec, Codec::png);
  EXPECT_EQ(reader.header().height, 8);
  EXPECT_EQ(reader.header().provenance, header.provenance);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(reader.key(i), row_of(i).key);
    EXPECT_EQ(reader.label(i), i - 1);
    EXPECT_EQ(reader.encoded(i), row_of(i).encoded);
    EXPECT_EQ(reader.image(i).pixels, image_of(i).pixels);
  }
  EXPECT_NO_THROW(reader.verify());
  EXPECT_THROW(reader.key(5), core::BugError);
  EXPECT_THROW(reader.source(0), core::BugError);
}

TEST_F(Shard, TranslationsKeepTheirSources) {
  ShardWriter writer(path, header, true);
  const SourceRow source{.key = "photo/x.jpg", .shard = 3, .row = int64_t{1} << 40, .prompt = "a \"pencil\" sketch", .variant = 2, .seed = -5, .status = 1};
  writer.add({"photo/x.jpg", -1, encode(image_of(1), Codec::png)}, source);
  SourceRow second = source;
  second.variant = 3;  // the same image again: a translation may hold several variants
  second.prompt = "";
  writer.add({"photo/x.jpg", -1, encode(image_of(2), Codec::png)}, second);
  EXPECT_THROW(writer.add(row_of(1)), core::BugError);
  writer.seal();
  const ShardReader reader(path);
  EXPECT_TRUE(reader.is_translation());
  EXPECT_EQ(reader.source(0), source);
  EXPECT_EQ(reader.source(1), second);
}

TEST_F(Shard, EmptyShardAndEmptyTranslationCanBeRead) {
  ShardWriter(path, header).seal();
  EXPECT_EQ(ShardReader(path).rows(), 0);
  ShardWriter(folder / "t.h5", header, true).seal();
  EXPECT_TRUE(ShardReader(folder / "t.h5").is_translation());
}

TEST_F(Shard, EqualRowsGiveEqualBytes) {
  filled(path, 4).seal();
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  filled(folder / "again.h5", 4).seal();
  EXPECT_EQ(io::hash_file(path), io::hash_file(folder / "again.h5"));
}

TEST_F(Shard, MayBeReadByManyThreads) {
  filled(path, 30).seal();
  const ShardReader reader(path);
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) good += reader.image((i * 7 + t) % 30).pixels == image_of((i * 7 + t) % 30).pixels;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 1200);
}

TEST_F(Shard, KilledBeforeRenameLeavesNoUnit) {
  for (int kills = 0; kills < 8; ++kills) {
    const pid_t child = fork();
    if (child == 0) {
      for (int number = 0;; ++number) filled(folder / (std::to_string(number) + ".h5"), 40).seal();
    }
    usleep(static_cast<useconds_t>(3000 + 4999 * kills));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      if (entry.path().extension() == ".tmp") continue;
      EXPECT_EQ(ShardReader(entry.path()).rows(), 40);
      EXPECT_NO_THROW(ShardReader(entry.path()).verify());
    }
  }
  filled(folder / "0.h5", 2).seal();  // what a killed run left does not stand in the way
  EXPECT_EQ(ShardReader(folder / "0.h5").rows(), 2);
}

TEST_F(Shard, FullDiskIsAnIoErrorAndLeavesNothing) {
  filled(folder / "whole.h5", 200).seal();
  const auto whole = fs::file_size(folder / "whole.h5");
  for (const auto limit : {uintmax_t{0}, uintmax_t{3000}, whole / 2, whole - 1}) {
    const int status = test::in_child(20, [&] {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit both{limit, limit};
      setrlimit(RLIMIT_FSIZE, &both);
      try {
        filled(path, 200).seal();
      } catch (const core::IoError&) {
        return 7;
      }
      return 0;
    });
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << limit << " of " << whole << ": " << status;
    EXPECT_FALSE(fs::exists(path) || fs::exists(path.string() + ".tmp")) << limit;
  }
}

TEST_F(Shard, FlippedBitsOfImagesAreFoundAndNamed) {
  filled(path, 3).seal();
  const io::Extent extent = io::Hdf5Reader(path).extent("/image/data");
  std::string content = io::read_file(path);
  const uint64_t second_row = extent.offset + row_of(0).encoded.size() + 20;
  content[second_row] = static_cast<char>(content[second_row] ^ 1);
  test::put(path, content);
  const ShardReader reader(path);
  EXPECT_NO_THROW(reader.image(0));
  EXPECT_ERROR(reader.image(1), core::DataError, "row 1 (\"ink/c/1.png\"): its bytes do not match their checksum");
  EXPECT_NO_THROW(reader.image(2));
  EXPECT_ERROR(reader.verify(), core::DataError, "row 1");
}

TEST_F(Shard, TruncatedShardsAreRefused) {
  filled(path, 3).seal();
  const std::string whole = io::read_file(path);
  const int status = test::in_child(20, [&] {
    for (size_t size = 0; size < whole.size(); size += 97) {
      test::put(folder / "cut.h5", whole.substr(0, size));
      try {
        ShardReader reader(folder / "cut.h5");
        return 1;
      } catch (const core::DataError&) {
      }
    }
    return 0;
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

/// A shard whose parts can be wrong one at a time.
struct Parts {
  std::string format = "syncdr-shard", codec = "png", provenance = "{}";
  int64_t version = 1, height = 8, width = 8;
  std::vector<uint8_t> data = row_of(0).encoded;
  std::vector<uint64_t> offsets{0, row_of(0).encoded.size()};
  std::vector<uint32_t> checksums{io::crc32c(row_of(0).encoded)};
  std::vector<std::string> keys{"a"};
  std::vector<int32_t> labels{0};
  bool source = false;

  void write(const fs::path& path) const {
    io::Hdf5Writer file(path);
    for (const auto& [name, text] : std::map<std::string, std::string>{
             {"format", format}, {"codec", codec}, {"provenance", provenance}, {"domain", "ink"}, {"split", "train"}, {"created_by", "test"}}) {
      file.attribute(name, text);
    }
    file.attribute("version", version);
    file.attribute("height", height);
    file.attribute("width", width);
    file.write("/image/data", data);
    file.write("/image/offset", offsets);
    file.write("/image/crc32c", checksums);
    file.write("/key", keys);
    file.write("/label", labels);
    if (source) file.write("/source/key", keys);
    file.close();
  }
};

TEST_F(Shard, PartsThatDoNotFitAreRefused) {
  const auto refused = [&](const char* message, auto change) {
    Parts parts;
    change(parts);
    parts.write(path);
    EXPECT_ERROR(ShardReader(path).verify(), core::DataError, message);
  };
  Parts().write(path);
  EXPECT_NO_THROW(ShardReader(path).verify());
  const uint64_t size = row_of(0).encoded.size();
  refused("no shard of syncdr", [](Parts& p) { p.format = "else"; });
  refused("format version 2", [](Parts& p) { p.version = 2; });
  refused("unknown codec", [](Parts& p) { p.codec = "gif"; });
  refused("no size of images", [](Parts& p) { p.height = -1; });
  refused("no size of images", [](Parts& p) { p.height = p.width = int64_t{1} << 62; });
  refused("raw images must", [](Parts& p) { p.codec = "raw", p.height = p.width = 0; });
  refused("JSON", [](Parts& p) { p.provenance = "{"; });
  refused("\"x\" is not a string", [](Parts& p) { p.provenance = "{\"x\": 1}"; });
  refused("the last offset is", [&](Parts& p) { p.offsets[1] = size + 1; });
  refused("the last offset is", [&](Parts& p) { p.offsets[1] = ~uint64_t{0}; });
  refused("does not begin with 0", [&](Parts& p) { p.offsets[0] = 1; });
  refused("offsets fall", [&](Parts& p) { p.offsets = {0, size + 5, size}, p.keys = {"a", "b"}, p.labels = {0, 0}, p.checksums = {0, 0}; });
  refused("need one more", [](Parts& p) { p.offsets.push_back(p.offsets.back()); });
  refused("/label has 2 rows", [](Parts& p) { p.labels.push_back(1); });
  refused("/image/crc32c has 0 rows", [](Parts& p) { p.checksums.clear(); });
  refused("key is empty", [](Parts& p) { p.keys[0] = ""; });
  refused("\"a\" occurs twice", [&](Parts& p) { p.offsets = {0, 0, size}, p.keys = {"a", "a"}, p.labels = {0, 0}, p.checksums = {0, 0}; });
  refused("/source/shard: is missing", [](Parts& p) { p.source = true; });
  refused("row 0 (\"a\"): has 8x8 pixels, the shard's images have 9x9", [](Parts& p) { p.height = p.width = 9; });
  refused("row 0 (\"a\"): JPEG header is broken", [](Parts& p) { p.codec = "jpeg"; });
}

TEST_F(Shard, WriterRefusesWhatItsReaderWould) {
  ShardWriter twice(path, header);
  twice.add(row_of(1));
  twice.add(row_of(1));
  EXPECT_ERROR(twice.seal(), core::DataError, "occurs twice");
  EXPECT_FALSE(fs::exists(path));
  ShardHeader nameless = header;
  nameless.domain = "";
  EXPECT_ERROR(ShardWriter(path, nameless).seal(), core::DataError, "no name");
}

}  // namespace
