// ranks: 1 3
// rooms: retrieval
// after: mpi.retrieval_head.1
// A head on a frozen backbone. With one rank it leaves what the cases with more ranks compare with.
#include <fstream>

#include "retrieval_case.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"

namespace syncdr::retrieval {
namespace {

/// A head on a backbone that stays as its weights are.
class TrainingOfAHead : public Training {
 protected:
  TrainConfig config() {
    const fs::path weights = folder_ / "backbone.safetensors";
    world().root_only("saving a backbone", [&] {
      io::NamedTensors tensors;
      for (const auto& [name, tensor] : nn::state_of(Encoder(EncoderConfig{.name = "small", .dim = 32}, 5)->backbone())) tensors[name] = tensor.detach();
      io::write_safetensors(weights, tensors);
    });
    TrainConfig config = config_of_test();
    config.encoder.weights = weights.string();
    config.encoder.train = "head";
    config.epochs = 2;
    config.kept_views = 3;
    config.kept_folder = (folder_ / "kept").string();
    return config;
  }
  /// A shard's first block within the folder of kept features, of which there is one.
  fs::path kept_block(const std::string& shard) const { return fs::directory_iterator(folder_ / "kept")->path().filename() / shard / "rows-00000000.h5"; }
};

TEST_F(TrainingOfAHead, OnKeptFeaturesHasTheLossesOfOneRankOnAnyNumber) {
  run(config(), {}, "run");
  if (world().size() == 1) {
    copy(folder_ / "run" / "log.jsonl", beside_program("head.jsonl"));
    copy(folder_ / "kept", beside_program("kept"));
  }
  if (!world().is_root()) return;
  for (const char* figure : figures) expect_same(curve("run", figure), training::read_metric(beside_program("head.jsonl"), figure), rounding, figure);
  int64_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(beside_program("kept"))) {
    if (!entry.is_regular_file()) continue;
    ++files;
    const fs::path ours = folder_ / "kept" / entry.path().lexically_relative(beside_program("kept"));
    EXPECT_EQ(io::read_file(ours), io::read_file(entry.path())) << ours;
  }
  EXPECT_EQ(files, 1 + 4);  // the settings; of each shard, two real and two translated ones, a block
}

TEST_F(TrainingOfAHead, OnKeptFeaturesEqualsEncodingAnewWhereNothingIsAugmented) {
  TrainConfig plain = config();
  plain.augment = {.resize = 32, .crop = 32, .flip = 0};
  run(plain, {}, "kept run");
  plain.kept_views = 0;
  run(plain, {}, "encoded run");
  if (!world().is_root()) return;
  // The kept ones are rounded to float.
  for (const char* figure : figures) expect_same(curve("kept run", figure), curve("encoded run", figure), 1e-5, figure);
}

TEST_F(TrainingOfAHead, OnKeptFeaturesPairsHaveTheWeightsOfTheirTranslations) {
  TrainConfig plain = config();
  plain.augment = {.resize = 32, .crop = 32, .flip = 0};
  run(plain, {}, "kept run", weighted_swap());
  plain.kept_views = 0;
  run(plain, {}, "encoded run", weighted_swap());
  if (!world().is_root()) return;
  for (const char* figure : figures) expect_same(curve("kept run", figure), curve("encoded run", figure), 1e-5, figure);
}

TEST_F(TrainingOfAHead, ComputesEachImageOnceAndLeavesTheBackbone) {
  run(config(), {}, "first", {});
  const auto time = fs::last_write_time(folder_ / "kept" / kept_block("real/warm/train-00000-of-00001.h5"));
  run(config(), {}, "second");  // another arm, with translations
  EXPECT_EQ(fs::last_write_time(folder_ / "kept" / kept_block("real/warm/train-00000-of-00001.h5")), time);
  if (!world().is_root()) return;
  Encoder before(EncoderConfig{.name = "small", .dim = 32}, 5), after = load_encoder(folder_ / "second" / "encoder.safetensors");
  EXPECT_EQ(nn::state_hash(after->backbone()), nn::state_hash(before->backbone()));
}

TEST_F(TrainingOfAHead, EachViewHasAChecksumOfItsOwnSoThatOneIsReadAlone) {
  run(config(), {}, "run", {});
  const io::Hdf5Reader block(folder_ / "kept" / kept_block("real/warm/train-00000-of-00001.h5"));
  const auto features = block.read<float>("/features");
  const auto checksums = block.read<uint32_t>("/crc32c");
  ASSERT_EQ(checksums.size(), 30u * 4u) << "three augmented views of each image, and the one of evaluation";
  const size_t width = features.size() / checksums.size();
  for (size_t view = 0; view < checksums.size(); ++view)
    EXPECT_EQ(io::crc32c({reinterpret_cast<const uint8_t*>(features.data() + view * width), width * sizeof(float)}), checksums[view]) << view;
}

TEST_F(TrainingOfAHead, ADamagedFileIsNamed) {
  if (world().size() > 1) return;  // the rank that reads the place would end the job
  run(config(), {}, "first", {});
  world().root_only("damaging a file", [&] {
    const fs::path file = folder_ / "kept" / kept_block("real/cold/train-00000-of-00001.h5");
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(fs::file_size(file)) / 2);
    stream.write("damage", 6);
  });
  const std::string message = error_of(core::ExitCode::bad_data, [&] { run(config(), {}, "second", {}); });
  EXPECT_THAT(message, testing::HasSubstr("do not match their checksum"));
}

TEST_F(TrainingOfAHead, WithoutWeightsIsRefused) {
  TrainConfig without = config();
  without.encoder.weights.clear();
  const std::string message = error_of(core::ExitCode::usage, [&] { run(without, {}, "run"); });
  EXPECT_THAT(message, testing::HasSubstr("Name a file of weights"));
}

}  // namespace
}  // namespace syncdr::retrieval
