#pragma once
#include <string>
#include <vector>

#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/hash.h"

/// A dataset that is made in milliseconds: two or three domains of little pictures and translation runs of all directions.
namespace syncdr::test {

struct TinyDataset {
  int64_t first = 40, second = 60, third = 0;  ///< training images of the domains "warm", "cold" and "mild"; 0: there is no third
  int64_t side = 32;
  int64_t quarantine_every = 7;  ///< every 7th translation is quarantined, each run's first one earlier than the one's before; 0: none
  std::vector<std::string> runs = {"swap"};

  std::filesystem::path write(const std::filesystem::path& root) const {
    data::Manifest manifest{.kind = "dataset", .name = "tiny", .domains = {"warm", "cold"}};
    if (third > 0) manifest.domains.push_back("mild");
    for (const std::string& domain : manifest.domains) {
      write_real(root, domain, size(domain));
      manifest.entries.push_back(entry(root, fmt::format("real/{}/train-00000-of-00001.h5", domain), size(domain)));
    }
    manifest.write(root / "dataset.json");
    for (size_t run = 0; run < runs.size(); ++run)
      for (const std::string& source : manifest.domains)
        for (const std::string& target : manifest.domains)
          if (source != target) write_translation(root, source, target, run);
    return root;
  }

 private:
  int64_t size(const std::string& domain) const { return domain == "warm" ? first : domain == "cold" ? second : third; }

  static data::ManifestEntry entry(const std::filesystem::path& folder, const std::string& file, int64_t rows) {
    return {.file = file, .rows = rows, .bytes = static_cast<int64_t>(std::filesystem::file_size(folder / file)), .hash = io::hash_file(folder / file)};
  }

  /// A picture of its own for each key: four coloured rectangles, brighter where the domain is warmer.
  std::vector<uint8_t> picture(const std::string& key, const std::string& look) const {
    core::Random random(1, core::Purpose::render, io::hash64(key));
    data::Image image{.height = side,
                      .width = side,
                      .pixels = std::vector<uint8_t>(static_cast<size_t>(side * side * 3), look == "warm"   ? 220
                                                                                           : look == "cold" ? 40
                                                                                                            : 130)};
    for (int k = 0; k < 4; ++k) {
      const auto top = random.below(static_cast<uint64_t>(side)), left = random.below(static_cast<uint64_t>(side));
      const auto colour = random.below(200);
      for (auto y = top; y < std::min<uint64_t>(top + 12, static_cast<uint64_t>(side)); ++y) {
        for (auto x = left; x < std::min<uint64_t>(left + 12, static_cast<uint64_t>(side)); ++x) {
          image.pixels[(y * static_cast<uint64_t>(side) + x) * 3 + static_cast<uint64_t>(k % 3)] = static_cast<uint8_t>(colour);
        }
      }
    }
    // Noise: in flat pictures whole channels of a random network are nearly constant, and batch normalisation then enlarges rounding
    // errors.
    for (uint8_t& value : image.pixels) value = static_cast<uint8_t>((value + random.below(120)) / 2);
    return data::encode(image, data::Codec::png);
  }

  static std::string key_of(const std::string& domain, int64_t row) { return fmt::format("{}/{:03}.png", domain, row); }

  void write_real(const std::filesystem::path& root, const std::string& domain, int64_t rows) const {
    data::ShardWriter writer(root / "real" / domain / "train-00000-of-00001.h5", {.domain = domain, .split = "train"});
    for (int64_t row = 0; row < rows; ++row) {
      const std::string key = key_of(domain, row);
      writer.add({.key = key, .label = static_cast<int32_t>(row % 5), .encoded = picture(key, domain)});
    }
    writer.seal();
  }

  void write_translation(const std::filesystem::path& root, const std::string& source, const std::string& target, size_t run) const {
    const std::filesystem::path folder = root / "synthetic" / fmt::format("{}-to-{}", source, target) / runs[run];
    const std::map<std::string, std::string> settings = {{"dataset", io::hash_file(root / "dataset.json")}, {"source", source}, {"target", target}};
    data::ShardWriter writer(folder / "unit-00000.h5", {.domain = target, .split = "train", .provenance = settings}, /*with_source=*/true);
    for (int64_t row = 0; row < size(source); ++row) {
      const std::string key = key_of(source, row);
      const bool bad = quarantine_every > 0 && (row + static_cast<int64_t>(run)) % quarantine_every == quarantine_every - 1;
      writer.add({.key = key, .label = -1, .encoded = picture(run == 0 ? key : runs[run] + key, target)}, {.key = key, .row = row, .status = bad ? 2 : 0});
    }
    writer.seal();
    data::Manifest manifest{.kind = "translation", .name = runs[run], .settings = settings};
    manifest.entries.push_back(entry(folder, "unit-00000.h5", size(source)));
    manifest.write(folder / "translation.json");
  }
};

}  // namespace syncdr::test
