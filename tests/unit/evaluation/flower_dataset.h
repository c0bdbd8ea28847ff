#pragma once
#include <unistd.h>

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <numbers>
#include <string>

#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/hash.h"

/// A small labelled dataset with translations, made in milliseconds: flowers whose number of petals is their category, filled ("colour") or
/// drawn as outlines ("ink"; a third domain is filled too). Its folder is removed with it.
namespace syncdr::test {

struct FlowerDataset {
  int64_t categories = 12, renders = 2, train = 40, side = 64;
  int32_t missing_label_row = -1;            ///< this row of ink's test images has no label
  std::map<std::string, int64_t> test_rows;  ///< of domains that have not categories * renders
  std::string own_category_in;               ///< this domain's last category is one that no other has
  int64_t label_training = 0;                ///< training images have labels below this; 0: none
  bool repeated_key = false;                 ///< ink's first test image is in a second shard, too
  std::vector<std::string> domains = {"colour", "ink"};
  std::filesystem::path root;

  /// name: unique among datasets that live at the same time.
  void write(const std::string& name) {
    root = std::filesystem::temp_directory_path() / fmt::format("syncdr-flowers-{}-{}", name, getpid());
    std::filesystem::remove_all(root);
    data::Manifest manifest{.kind = "dataset", .name = "flowers", .domains = domains};
    for (const std::string& domain : domains)
      for (const std::string split : {"train", "test"}) manifest.entries.push_back(write_real(domain, split, rows(split, domain)));
    if (repeated_key) manifest.entries.push_back(write_real("ink", "test", 1, 1));
    manifest.write(root / "dataset.json");
    for (const std::string& source : domains)
      for (const std::string& target : domains)
        if (source != target) write_translation(source, target, "cut");
  }
  FlowerDataset() = default;
  FlowerDataset(const FlowerDataset&) = delete;
  FlowerDataset& operator=(const FlowerDataset&) = delete;
  ~FlowerDataset() {
    std::error_code ignored;
    if (!root.empty()) std::filesystem::remove_all(root, ignored);
  }

  int64_t rows(const std::string& split, const std::string& domain = "") const {
    if (split == "train") return train;
    const auto own = test_rows.find(domain);
    return own == test_rows.end() ? categories * renders : own->second;
  }
  int64_t label(int64_t row) const { return row % categories; }
  /// Keys hold what a page must escape.
  static std::string key(const std::string& domain, const std::string& split, int64_t row) { return fmt::format("{}/{}-<b>&\"{}\".png", domain, split, row); }

 private:
  // A flower r(angle) = R (1 + depth cos(petals angle)), turned and moved a little by the key.
  std::vector<uint8_t> flower(const std::string& look_key, const std::string& look, int64_t category) const {
    core::Random random(3, core::Purpose::render, io::hash64(look_key));
    const auto half = static_cast<double>(side) / 2;
    const double radius = half * random.uniform(0.55, 0.68), turn = random.uniform(-0.3, 0.3), dx = random.uniform(-3, 3), dy = random.uniform(-3, 3);
    const double petals = static_cast<double>(category % 6 + 2), depth = category < 6 ? 0.15 : 0.4;
    const bool ink = look == "ink";
    data::Image image{side, side, {}};
    for (int64_t y = 0; y < side; ++y)
      for (int64_t x = 0; x < side; ++x) {
        const double px = static_cast<double>(x) - half - dx, py = static_cast<double>(y) - half - dy;
        const double edge = radius * (1 + depth * std::cos(petals * (std::atan2(py, px) + turn))) - std::hypot(px, py);
        const double cover = std::clamp(ink ? 1.6 - std::abs(edge) : edge, 0.0, 1.0);
        for (int channel = 0; channel < 3; ++channel) {
          const double hue = 0.5 + 0.5 * std::cos(static_cast<double>(category) * 0.9 + channel * 2 * std::numbers::pi / 3);
          image.pixels.push_back(static_cast<uint8_t>(244 * (1 - cover) + cover * (ink ? 30 : 40 + 190 * hue)));
        }
      }
    return data::encode(image, data::Codec::png);
  }

  int32_t label_in(const std::string& domain, const std::string& split, int64_t row) const {
    if (split == "train") return label_training == 0 ? -1 : static_cast<int32_t>(row % label_training);
    if (domain == "ink" && row == missing_label_row) return -1;
    const bool own = domain == own_category_in && label(row) == categories - 1;
    return static_cast<int32_t>(own ? categories : label(row));
  }

  data::ManifestEntry write_real(const std::string& domain, const std::string& split, int64_t count, int64_t shard = 0) const {
    const int64_t shards = repeated_key && domain == "ink" && split == "test" ? 2 : 1;
    const std::string file = fmt::format("real/{}/{}-{:05}-of-{:05}.h5", domain, split, shard, shards);
    data::ShardWriter writer(root / file, {.domain = domain, .split = split, .height = side, .width = side});
    for (int64_t row = 0; row < count; ++row)
      writer.add({key(domain, split, row), label_in(domain, split, row), flower(key(domain, split, row), domain, label(row))});
    writer.seal();
    return data::make_entry(root, file, count);
  }

  // Every seventh translation is quarantined.
  void write_translation(const std::string& source, const std::string& target, const std::string& run) const {
    const auto folder = root / "synthetic" / (source + "-to-" + target) / run;
    data::ShardWriter writer(folder / "unit-00000.h5", {.domain = target, .split = "train", .height = side, .width = side},
                             /*with_source=*/true);
    for (int64_t row = 0; row < train; ++row) {
      const auto name = key(source, "train", row);
      writer.add({name, -1, flower(name, target, label(row))}, {.key = name, .row = row, .status = row % 7 == 6 ? 2 : 0});
    }
    writer.seal();
    data::Manifest manifest{.kind = "translation", .name = run, .settings = {{"dataset", io::hash_file(root / "dataset.json")}}};
    manifest.entries.push_back(data::make_entry(folder, "unit-00000.h5", train));
    manifest.write(folder / "translation.json");
  }
};

}  // namespace syncdr::test
