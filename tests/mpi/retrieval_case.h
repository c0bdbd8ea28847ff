#pragma once
#include <ATen/ops/linspace.h>
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/retrieval/trainer.h"
#include "syncdr/training/checkpoint.h"
#include "syncdr/training/metric_log.h"
#include "tiny_dataset_test.h"

/// One small training that the mpi tests of this room run on several numbers of ranks. What a run leaves for another one to compare with
/// lies beside the programs.
namespace syncdr::retrieval {

namespace fs = std::filesystem;
using test::world;
using training::Curve;

inline const char* const figures[] = {"loss", "loss_id", "loss_cdm", "loss_ppp"};

/// In double precision: in single precision a rounding error of 1e-7 soon puts some value on the other side of a ReLU, which alone changes
/// gradients by 1e-3, and after ten steps of a random network losses differ in the second digit, on one rank as well if only the batch is
/// cut in another way. 4 epochs of 5 steps: 73 and 75 entries in batches of 14.
inline TrainConfig config_of_test() {
  return {.encoder = {.name = "small", .dim = 32, .feature_norm = true},
          .optimizer = {.learning_rate = 1e-3},
          .augment = {.resize = 36, .crop = 32, .rotation = 10},
          .epochs = 4,
          .batch = 14,
          .matching_weight = 0.1,
          .matching_top = 20,
          .precision = "fp64",
          .log_every = 1};
}

inline fs::path beside_program(const std::string& name) { return test::beside_program("mpi_retrieval", name); }

/// Scores by epoch, so that the third is best; the encoder given is in evaluation mode.
struct Scores {
  std::vector<double> values = {0.25, 0.5, 0.75, 0.5};
  int64_t fail_in_epoch = 0;  ///< counts from 1; 0: never
  size_t calls = 0;
  double operator()(Encoder& encoder) {
    EXPECT_FALSE(encoder->is_training());
    ++calls;
    if (static_cast<int64_t>(calls) == fail_in_epoch) throw core::PeerError("the machine is lost");
    return world().is_root() ? values.at(calls - 1) : -1;  // the value of rank 0 counts
  }
};

class Training : public test::TinyDatasetTest {
 protected:
  Training() : TinyDatasetTest({.first = 30, .second = 50}) {}

  TrainResult run(const TrainConfig& config, const Validate& validate, const std::string& out, const std::vector<data::TranslatedSet>& sets = {{"swap"}},
                  uint64_t seed = 11) {
    return train({world(), *dataset_, {"warm", "cold"}, seed, folder_ / out}, sets, config, validate);
  }
  Curve curve(const std::string& out, const std::string& figure) const { return training::read_metric(folder_ / out / "log.jsonl", figure); }
  std::string weights(const std::string& out) const { return nn::state_hash(*load_encoder(folder_ / out / "encoder.safetensors")); }
  void copy(const fs::path& from, const fs::path& to) {
    world().root_only("copying", [&] {
      fs::remove_all(to);
      fs::create_directories(to.parent_path());
      fs::copy(from, to, fs::copy_options::recursive);
    });
  }
};

/// The set "swap" with weights from 0.05 to 1.
inline std::vector<data::TranslatedSet> weighted_swap() {
  const auto weights = [](int64_t rows) { return at::linspace(0.05, 1, rows, at::kDouble).view({rows, 1}); };
  return {{.run = "swap", .weights = {{{"warm", "cold"}, weights(30)}, {{"cold", "warm"}, weights(50)}}}};
}

/// Equal steps, and values that differ by float rounding alone.
inline void expect_same(const Curve& ours, const Curve& theirs, double tolerance, const std::string& what) {
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  for (size_t k = 0; k < ours.size(); ++k) {
    EXPECT_EQ(ours[k].first, theirs[k].first) << what;
    EXPECT_NEAR(ours[k].second, theirs[k].second, tolerance * std::max(1.0, std::abs(theirs[k].second))) << what << ", step " << ours[k].first;
  }
}

inline constexpr double rounding = 1e-8;

}  // namespace syncdr::retrieval
