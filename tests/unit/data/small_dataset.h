#pragma once
#include <fmt/format.h>
#include <filesystem>
#include <string>
#include <vector>

#include "syncdr/data/dataset.h"
#include "syncdr/io/hash.h"

/// Datasets of a few 8 x 8 pictures, each of one colour that tells which picture it is.
namespace syncdr::data::testing_small {

inline Image plain_image(uint8_t red, uint8_t green) {
  Image image{8, 8, {}};
  for (int i = 0; i < 64; ++i) image.pixels.insert(image.pixels.end(), {red, green, 0});
  return image;
}

inline std::string key_of(const std::string& domain, int64_t row) { return fmt::format("{}/c{}/{}", domain, row % 3, row); }

/// Domain number `domain` (its pictures' red) with `shards` training shards of `rows` pictures each; green counts the pictures from 0.
inline void write_domain(const std::filesystem::path& root, Manifest& manifest, const std::string& name, uint8_t red, int64_t shards, int64_t rows) {
  for (int64_t shard = 0; shard < shards; ++shard) {
    const auto file = fmt::format("real/{}/train-{:05d}-of-{:05d}.h5", name, shard, shards);
    ShardWriter writer(root / file, {.domain = name, .split = "train", .codec = Codec::png, .height = 8, .width = 8});
    for (int64_t row = shard * rows; row < (shard + 1) * rows; ++row) {
      writer.add({key_of(name, row), static_cast<int32_t>(row % 3), encode(plain_image(red, static_cast<uint8_t>(row)), Codec::png)});
    }
    writer.seal();
    manifest.entries.push_back(make_entry(root, file, rows));
  }
}

/// Domains "a" (red 10, 2 shards of 3 pictures) and "b" (red 20, 1 shard of 4 pictures); a third one, "c", has red 30 and 1 shard of 5 pictures.
inline void write_dataset(const std::filesystem::path& root, bool third = false) {
  Manifest manifest{.kind = "dataset", .name = "small", .domains = {"a", "b"}, .settings = {{"made by", "a test"}}};
  write_domain(root, manifest, "a", 10, 2, 3);
  write_domain(root, manifest, "b", 20, 1, 4);
  if (third) {
    manifest.domains.push_back("c");
    write_domain(root, manifest, "c", 30, 1, 5);
  }
  manifest.write(root / "dataset.json");
}

/// One row of a run, to be changed by a test before it is written.
struct Translation {
  SourceRow source;
  Image image;
};

/// What a translator would give: variants of each source picture; red 100 (from a), 200 (from b) or 150 (from c) plus the variant and `more`, green the
/// source's number.
inline std::vector<Translation> translations_of(const Dataset& dataset, const std::string& source, int32_t variants, int more = 0) {
  const ShardList list = dataset.real(source, "train");
  std::vector<Translation> all;
  for (int64_t row = 0; row < list.rows(); ++row) {
    const auto [shard, row_in_shard] = list.locate(row);
    for (int32_t variant = 0; variant < variants; ++variant) {
      const auto red = static_cast<uint8_t>((source == "a" ? 100 : source == "b" ? 200 : 150) + variant + more);
      all.push_back(
          {{.key = list.key(row), .shard = static_cast<int32_t>(shard), .row = row_in_shard, .variant = variant}, plain_image(red, static_cast<uint8_t>(row))});
    }
  }
  return all;
}

inline void write_run(const Dataset& dataset, const std::string& source, const std::string& target, const std::string& run, const std::vector<Translation>& all,
                      const std::string& split = "train") {
  const auto folder = dataset.synthetic_folder(source, target, run);
  const std::string file = "unit-00000.h5";
  const std::map<std::string, std::string> settings{{"dataset", io::hash_file(dataset.root() / "dataset.json")}, {"source", source}};
  const int64_t side = all.front().image.height;
  ShardWriter writer(folder / file, {.domain = target, .split = split, .codec = Codec::png, .height = side, .width = side, .provenance = settings}, true);
  for (const auto& one : all) writer.add({one.source.key, -1, encode(one.image, Codec::png)}, one.source);
  writer.seal();
  const auto entry = make_entry(folder, file, static_cast<int64_t>(all.size()));
  Manifest{.kind = "translation", .name = run, .domains = {}, .settings = settings, .entries = {entry}}.write(folder / "translation.json");
}

/// Both directions of a run as it should be.
inline void write_both_runs(const Dataset& dataset, const std::string& run, int32_t variants) {
  write_run(dataset, "a", "b", run, translations_of(dataset, "a", variants));
  write_run(dataset, "b", "a", run, translations_of(dataset, "b", variants));
}

}  // namespace syncdr::data::testing_small
