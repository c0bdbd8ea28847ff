#include "syncdr/core/philox.h"

#include <cmath>
#include <numbers>

#include "syncdr/core/error.h"

namespace syncdr::core {
namespace {

// One step of splitmix64 (Steele, Lea, Flood, OOPSLA 2014): spreads seed, purpose and variant over the 64-bit key.
uint64_t mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(product1), static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ k[1],
         static_cast<uint32_t>(product0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

Random::Random(uint64_t seed, Purpose purpose, uint64_t key, uint32_t variant, uint32_t step) {
  const uint64_t stream = mix(mix(seed) ^ (uint64_t{static_cast<uint32_t>(purpose)} << 32 | variant));
  key_ = {static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  counter_ = {0, step, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

uint32_t Random::bits() {
  if (used_ == 4) {
    block_ = philox4x32(counter_, key_);
    ++counter_[0];
    SYNCDR_ASSERT(counter_[0] != 0, "a random stream is used up after 2^34 numbers");
    used_ = 0;
  }
  return block_[used_++];
}

double Random::uniform() {
  const uint64_t high = bits();
  const uint64_t both = high << 32 | bits();
  return static_cast<double>(both >> 11) * 0x1.0p-53;
}

double Random::uniform(double low, double high) { return low + (high - low) * uniform(); }

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is never 0
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

uint64_t Random::below(uint64_t bound) {
  SYNCDR_ASSERT(bound > 0, "below(0)");
  const uint64_t reject = (0 - bound) % bound;  // 2^64 mod bound: values below it would make small results likelier
  while (true) {
    const uint64_t high = bits();
    const uint64_t value = high << 32 | bits();
    if (value >= reject) return value % bound;
  }
}

void Random::fill_normal(std::span<float> out) {
  for (float& value : out) value = static_cast<float>(normal());
}

}  // namespace syncdr::core
