#pragma once
#include <functional>
#include <set>

#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/translate/engine.h"

/// A small data set and a translator for tests of the engine.
namespace syncdr::test {

inline constexpr int64_t side = 16, photos = 23;

inline data::Image photo(int64_t index) {
  data::Image image{.height = side, .width = side, .pixels = std::vector<uint8_t>(3 * side * side)};
  core::Random random(5, core::Purpose::render, static_cast<uint64_t>(index));
  for (auto& value : image.pixels) value = static_cast<uint8_t>(random.below(256));
  return image;
}

inline std::string photo_key(int64_t index) { return fmt::format("Photo/class-{}/{:03}.png", index % 3, index); }

/// Domains Photo (train: 14 and 9 rows) and Drawing (none needed). Row `broken` (-1: none) ends in the middle of its PNG.
inline void make_dataset(const std::filesystem::path& root, int64_t broken = -1) {
  data::Manifest manifest{.kind = "dataset", .name = "small", .domains = {"Photo", "Drawing"}};
  int64_t row = 0;
  for (const int64_t end : {int64_t{14}, photos}) {
    const auto file = fmt::format("real/Photo/train-{:05}-of-00002.h5", row == 0 ? 0 : 1);
    const auto rows = end - row;
    data::ShardWriter writer(root / file, {.domain = "Photo", .split = "train", .codec = data::Codec::png, .height = side, .width = side});
    for (; row < end; ++row) {
      auto encoded = data::encode(photo(row), data::Codec::png);
      if (row == broken) encoded.resize(encoded.size() / 2);
      writer.add({.key = photo_key(row), .label = static_cast<int32_t>(row % 3), .encoded = std::move(encoded)});
    }
    writer.seal();
    manifest.entries.push_back(data::make_entry(root, file, rows));
  }
  manifest.write(root / "dataset.json");
}

/// Half the image and half noise of the request: what a diffusion model is to the engine.
class NoisyTranslator : public translate::Translator {
 public:
  int64_t batch() const override { return 4; }
  int64_t size() const override { return side; }
  bool is_random() const override { return true; }
  std::map<std::string, std::string> provenance() const override { return {{"translator", "noisy"}, {"size", std::to_string(side)}}; }

  translate::Translated translate(const at::Tensor& images, std::span<const translate::Request> requests) override {
    before_call(++calls);
    auto floats = nn::from_bytes(images, at::kCPU);
    for (size_t i = 0; i < requests.size(); ++i) {
      auto image = floats[static_cast<int64_t>(i)];
      const auto& [seed, key, variant, prompt] = requests[i];
      core::Random random(seed, core::Purpose::noise, key, static_cast<uint32_t>(variant));
      std::vector<float> noise(static_cast<size_t>(image.numel()));
      random.fill_normal(noise);
      image.mul_(0.5).add_(at::from_blob(noise.data(), image.sizes()), 0.2);
      if (blank_at_first.contains({key, variant})) image.fill_(0.25);
      if (never_good.contains(key)) image[1][2][3] = NAN;
    }
    return translate::to_bytes(floats);
  }

  std::function<void(int)> before_call = [](int) {};
  std::set<std::pair<uint64_t, int32_t>> blank_at_first;  ///< hash of the key, variant
  std::set<uint64_t> never_good;                          ///< hash of the key
  int calls = 0;
};

inline translate::TranslateConfig noisy_config() {
  return {.translator = "noisy", .run = "noisy", .size = side, .batch = 4, .variants = 2, .unit_rows = 5, .taper = 0, .codec_threads = 2};
}

}  // namespace syncdr::test
