#pragma once
#include <array>
#include <cstdint>
#include <span>

/// Counter-based random numbers: every number is a function of what it is for, not of who drew before.
namespace syncdr::core {

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// What a stream of random numbers is for. Streams of different purposes never share numbers. Values are part of the
/// reproducibility promise: append, never renumber.
enum class Purpose : uint32_t {
  noise = 1,            ///< a translator's noise for one image
  augmentation = 2,     ///< one sample's random crop, flip, ...
  order = 3,            ///< the order of an epoch
  render = 4,           ///< a render of an emoji
  split = 5,            ///< which half or split an item belongs to
  weights = 6,          ///< initial parameters
  patches = 7,          ///< locations of contrastive patches
  bootstrap = 8,        ///< resampled queries
  structure = 9,        ///< the blur of one image's structure map
  training_noise = 10,  ///< what one image of a training step draws: noise, time, what is left out
};

/// A stream of numbers named by (seed, key, variant, purpose, step); e.g. key = hash of an image's key. Cheap to make, no shared state.
class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint64_t key = 0, uint32_t variant = 0, uint32_t step = 0);

  uint32_t bits();   ///< uniform 32 bits
  double uniform();  ///< uniform in [0, 1), 53 bits
  double uniform(double low, double high);
  double normal();                 ///< standard normal (Box-Muller)
  uint64_t below(uint64_t bound);  ///< uniform in [0, bound), without bias; bound > 0
  bool chance(double probability) { return uniform() < probability; }
  void fill_normal(std::span<float> out);

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  uint32_t used_ = 4;
};

}  // namespace syncdr::core
