#include <algorithm>
#include <opencv2/core.hpp>
#include <optional>

#include "commands.h"
#include "emoji_glyphs.h"
#include "emoji_render.h"
#include "parallel.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/philox.h"
#include "syncdr/core/progress.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/identity.h"

/// syncdr-data emoji: a complete dataset of two domains from two fonts, for the quickstart and the tests. Each emoji is a category. One
/// half of them is trained on in colour, the other half in ink, so that no category is common to both training sets; validation and test
/// hold all in both.
namespace syncdr::data_tools {
namespace {

constexpr int64_t rows_per_shard = 1024;

/// One picture to be drawn. The key names it in the dataset, the render says which of its emoji's pictures it is: that alone decides on its
/// pixels.
struct Picture {
  std::string key, render;
  const Glyph* glyph = nullptr;
  int32_t label = -1;
};

const std::pair<std::string, std::string> directions[] = {{"colour", "ink"}, {"ink", "colour"}};

bool is_colour(const std::string& domain) { return domain == "colour"; }

std::string picture_key(const std::string& domain, const Glyph& glyph, const std::string& split, int number) {
  return fmt::format("{}/{:04X}/{}-{}", domain, glyph.code_point, split, number);
}

class EmojiSet {
 public:
  explicit EmojiSet(EmojiOptions options) : options_(std::move(options)), fonts_(find_fonts(options_.colour_font, options_.ink_font)) {
    manifest_ = {.kind = "dataset", .name = "emoji", .domains = {"colour", "ink"}, .settings = settings()};
  }

  void make() {
    const auto file = options_.out / "dataset.json";
    if (std::filesystem::exists(file)) return check_existing(file);
    check_folder();
    glyphs_ = read_glyphs(fonts_, std::max(master_side, options_.size));
    halve();
    const auto count = static_cast<int64_t>(glyphs_.size());
    std::map<std::string, std::vector<Picture>> extra;
    int64_t extra_count = 0;
    if (options_.extra > 0)
      for (const std::string domain : {"colour", "ink"}) extra_count += std::ssize(extra[domain] = extra_pictures(domain));
    progress_.emplace("rendering emoji", 2 * count * (1 + options_.val + options_.test) + extra_count, "pictures");
    for (const std::string domain : {"colour", "ink"}) {
      for (const std::string split : {"train", "val", "test"}) write_split(domain, split, pictures(domain, split));
      if (options_.extra > 0) write_split(domain, "extra", extra.at(domain));
    }
    // dataset.json appears last, since a folder without it is an unfinished one; but the counterparts name the dataset that they belong to
    // by its hash.
    io::AtomicFile finished(file);
    manifest_.write(finished.temporary());
    const std::string dataset = io::hash_file(finished.temporary());
    for (const auto& [source, target] : directions) write_counterparts(source, target, dataset);
    finished.commit();
    progress_.reset();
    core::info("{}: {} emoji, {} pictures a domain in training", options_.out.string(), count, count / 2);
  }

 private:
  std::map<std::string, std::string> settings() const {
    std::map<std::string, std::string> all{{"made by", "syncdr-data emoji"},
                                           {"size", std::to_string(options_.size)},
                                           {"seed", std::to_string(options_.seed)},
                                           {"val", std::to_string(options_.val)},
                                           {"test", std::to_string(options_.test)},
                                           {"codec", options_.codec},
                                           {"colour font", io::hash_file(fonts_.colour)},
                                           {"ink font", io::hash_file(fonts_.ink)}};
    if (options_.extra > 0) all["extra"] = std::to_string(options_.extra);
    return all;
  }

  void check_existing(const std::filesystem::path& file) const {
    const auto there = data::Manifest::read(file);
    io::expect_same(there.settings, manifest_.settings, file);
    for (const auto& entry : there.entries) data::check_entry(options_.out, entry, true);
    for (const auto& [source, target] : directions) {
      const auto folder = counterparts_folder(source, target);
      for (const auto& entry : data::Manifest::read(folder / "translation.json").entries) data::check_entry(folder, entry, true);
    }
    core::info("{}: complete, nothing to do", options_.out.string());
  }

  /// What an interrupted call left is written over; anything else in the folder is somebody's.
  void check_folder() const {
    if (!std::filesystem::exists(options_.out)) return;
    if (!std::filesystem::is_directory(options_.out)) throw core::UsageError("{}: is no folder", options_.out.string());
    for (const auto& item : std::filesystem::directory_iterator(options_.out)) {
      const std::string name = item.path().filename().string();
      if (name == "real" || name == "synthetic" || name.starts_with("dataset.json.")) continue;
      throw core::UsageError("{}: holds \"{}\", which is no part of a dataset. Choose an empty or a new folder", options_.out.string(), name);
    }
  }

  /// Places in the list, ordered by random numbers of (seed, code point).
  std::vector<int64_t> random_order(const std::vector<Glyph>& glyphs) const {
    std::vector<std::pair<uint64_t, int64_t>> order;
    for (size_t i = 0; i < glyphs.size(); ++i) {
      core::Random random(options_.seed, core::Purpose::split, glyphs[i].code_point);
      const uint64_t high = random.bits();
      order.emplace_back(high << 32 | random.bits(), static_cast<int64_t>(i));
    }
    std::sort(order.begin(), order.end());
    std::vector<int64_t> places;
    for (const auto& [number, place] : order) places.push_back(place);
    return places;
  }

  /// Exactly one half trains in colour.
  void halve() {
    const std::vector<int64_t> order = random_order(glyphs_);
    trains_in_colour_.assign(glyphs_.size(), false);
    for (size_t i = 0; i < order.size() / 2; ++i) trains_in_colour_[static_cast<size_t>(order[i])] = true;
  }

  std::vector<Picture> pictures(const std::string& domain, const std::string& split) const {
    const bool train = split == "train";
    const int renders = train ? 1 : split == "val" ? options_.val : options_.test;
    std::vector<Picture> all;
    for (size_t i = 0; i < glyphs_.size(); ++i) {
      if (train && trains_in_colour_[i] != is_colour(domain)) continue;
      for (int number = 0; number < renders; ++number) {
        const std::string key = picture_key(domain, glyphs_[i], split, number);
        all.push_back({key, key, &glyphs_[i], static_cast<int32_t>(i)});
      }
    }
    return all;
  }

  /// Glyphs that the other domain cannot have, in an order by random numbers: what is left out is as what is taken.
  std::vector<Picture> extra_pictures(const std::string& domain) {
    std::vector<Glyph>& glyphs = lone_glyphs_[domain];
    glyphs = read_lone_glyphs(fonts_, std::max(master_side, options_.size), !is_colour(domain));
    std::vector<Picture> all;
    for (const int64_t i : random_order(glyphs)) {
      if (std::ssize(all) == options_.extra) break;
      const Glyph& glyph = glyphs[static_cast<size_t>(i)];
      const std::string key = picture_key(domain, glyph, "extra", 0);
      all.push_back({key, key, &glyph});
    }
    return all;
  }

  data::ShardHeader header(const std::string& domain, const std::string& split) const {
    return {.domain = domain, .split = split, .codec = data::codec_from_name(options_.codec), .height = options_.size, .width = options_.size};
  }

  std::vector<data::Row> draw(const std::vector<Picture>& all, int64_t first, int64_t last, const std::string& domain) {
    std::vector<data::Row> rows(static_cast<size_t>(last - first));
    const auto codec = data::codec_from_name(options_.codec);
    cv::setNumThreads(0);  // the threads of in_parallel are all there are to be
    in_parallel(last - first, [&](int64_t i) {
      const Picture& picture = all[static_cast<size_t>(first + i)];
      const auto image = is_colour(domain) ? render_colour(picture.glyph->colour, options_.size, options_.seed, picture.render)
                                           : render_ink(picture.glyph->ink, options_.size, options_.seed, picture.render);
      rows[static_cast<size_t>(i)] = {picture.key, picture.label, data::encode(image, codec)};
    });
    progress_->advance(last - first);
    return rows;
  }

  void write_split(const std::string& domain, const std::string& split, const std::vector<Picture>& all) {
    const auto count = static_cast<int64_t>(all.size()), shards = (count + rows_per_shard - 1) / rows_per_shard;
    for (int64_t shard = 0; shard < shards; ++shard) {
      const int64_t first = shard * rows_per_shard, last = std::min(first + rows_per_shard, count);
      const auto file = fmt::format("real/{}/{}-{:05d}-of-{:05d}.h5", domain, split, shard, shards);
      data::ShardWriter writer(options_.out / file, header(domain, split));
      for (auto& row : draw(all, first, last, domain)) writer.add(std::move(row));
      writer.seal();
      manifest_.entries.push_back(data::make_entry(options_.out, file, last - first));
    }
  }

  std::filesystem::path counterparts_folder(const std::string& source, const std::string& target) const {
    return options_.out / "synthetic" / (source + "-to-" + target) / "true";
  }

  /// A translation run as a perfect translator would make it: of each training picture one fresh render of the same emoji in the other
  /// domain.
  void write_counterparts(const std::string& source, const std::string& target, const std::string& dataset) {
    auto all = pictures(source, "train");
    for (auto& picture : all) picture.render = picture_key(target, *picture.glyph, "true", 0);
    const auto folder = counterparts_folder(source, target);
    data::Manifest run{.kind = "translation", .name = "true"};
    run.settings = {{"translator", "true counterparts"},
                    {"dataset", dataset},
                    {"source", source},
                    {"target", target},
                    {"split", "train"},
                    {"seed", std::to_string(options_.seed)},
                    {"variants", "1"},
                    {"codec", options_.codec},
                    {"unit_rows", std::to_string(rows_per_shard)}};
    const auto count = static_cast<int64_t>(all.size());
    for (int64_t first = 0, unit = 0; first < count; first += rows_per_shard, ++unit) {
      const int64_t last = std::min(first + rows_per_shard, count);
      auto unit_header = header(target, "train");
      unit_header.provenance = run.settings;
      const auto file = fmt::format("unit-{:05d}.h5", unit);
      data::ShardWriter writer(folder / file, unit_header, true);
      int64_t row = 0;  // a unit's source is the shard of the same number: both hold rows_per_shard rows
      for (auto& drawn : draw(all, first, last, target)) {
        data::SourceRow from{.key = drawn.key, .shard = static_cast<int32_t>(unit), .row = row++, .seed = static_cast<int64_t>(options_.seed)};
        writer.add(std::move(drawn), std::move(from));
      }
      writer.seal();
      run.entries.push_back(data::make_entry(folder, file, last - first));
    }
    run.write(folder / "translation.json");
  }

  EmojiOptions options_;
  Fonts fonts_;
  data::Manifest manifest_;
  std::vector<Glyph> glyphs_;
  std::map<std::string, std::vector<Glyph>> lone_glyphs_;  // by domain
  std::vector<bool> trains_in_colour_;
  std::optional<core::Progress> progress_;
};

}  // namespace

void make_emoji(const EmojiOptions& options) { EmojiSet(options).make(); }

}  // namespace syncdr::data_tools
