#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>

#include "commands.h"
#include "pack_image.h"
#include "pack_sources.h"
#include "parallel.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/core/some_of.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"

/// syncdr-data pack: folders or published lists of images become a dataset of shards.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

/// auto: png where every image is a PNG or a TIFF, so that nothing is lost; jpeg otherwise.
std::string choose_codec(const PackOptions& options, const Sources& sources) {
  if (options.codec != "auto") return options.codec;
  const auto is_lossless = [](const Source& image) {
    const std::string extension = extension_of(image.key);
    return extension == ".png" || extension == ".tif" || extension == ".tiff";
  };
  return std::all_of(sources.images.begin(), sources.images.end(), is_lossless) ? "png" : "jpeg";
}

Sources find_sources(PackOptions& options) {
  const ListOptions& list = options.list;
  const int kinds = !options.sources.empty() + !list.lists.empty() + !list.tables.empty() + !list.tars.empty();
  if (kinds != 1) throw core::UsageError("pack needs folders, or --list, or --table, or --tar: {}", kinds == 0 ? "one of them" : "not several");
  if (options.codec == "raw" && options.size == 0) throw core::UsageError("--codec raw needs --size: raw images of a shard all have one size");
  const bool fixed = !list.lists.empty() || !list.tars.empty();
  if (fixed && (options.halves || options.whole))
    throw core::UsageError("--disjoint and --no-disjoint are for folders and tables: lists and archives already say what trains where");
  if (options.split.val + options.split.test >= 1) throw core::UsageError("--val and --test leave no images to train on");
  if (!list.lists.empty()) return read_lists(list);
  if (!list.tars.empty()) return read_tars(list);
  Sources sources = list.tables.empty() ? scan_folders(options.sources) : read_tables(list);
  if (options.halves && sources.domains.size() != 2) {
    throw core::UsageError("--disjoint is for two domains; here are {}: {}", sources.domains.size(), fmt::join(sources.domains, ", "));
  }
  options.split.disjoint = options.halves || (!options.whole && !sources.split && sources.domains.size() == 2);
  if (sources.split) core::info("the {} name the splits, so --val and --test are not used", list.tables.empty() ? "folders" : "tables");
  assign_splits(sources, options.split);
  return sources;
}

class Packer {
 public:
  Packer(const PackOptions& options, const Sources& sources)
      : options_(options), sources_(sources), codec_(data::codec_from_name(choose_codec(options, sources))) {
    const fs::path folder = options.out.has_filename() ? options.out : options.out.parent_path();
    manifest_ = {.kind = "dataset", .name = folder.filename().string(), .domains = sources.domains, .settings = settings()};
  }

  void pack() {
    if (!claim_folder()) return;
    std::map<std::pair<std::string, std::string>, std::vector<const Source*>> parts;  // (domain, split)
    for (const Source& image : sources_.images) parts[{image.domain, image.split}].push_back(&image);
    progress_.emplace("packing", static_cast<int64_t>(sources_.images.size()), "images");
    for (const auto& [name, images] : parts) pack_part(name.first, name.second, images);
    progress_.reset();
    write_quarantine(true);
    write_prompts();
    manifest_.write(options_.out / "dataset.json");  // last: a folder without it is no dataset
    fs::remove(marker());
    report();
  }

 private:
  /// What is sealed so far; gone when the dataset is whole.
  fs::path marker() const { return options_.out / "packing.json"; }
  fs::path quarantine_file() const { return options_.out / "quarantine.json"; }

  /// Everything that decides the bytes of the dataset. Where its sources lie is left out, so that it can be made again on another machine.
  std::map<std::string, std::string> settings() const {
    std::string items;
    for (const Source& image : sources_.images) {
      items += fmt::format("{}\n{}\n{}\n{}\n", image.domain, image.split, image.key, image.label);
      if (!image.prompt.empty()) items += fmt::format("prompt {}\n", image.prompt);
    }
    std::map<std::string, std::string> all{{"made by", "syncdr-data pack"},
                                           {"codec", data::codec_name(codec_)},
                                           {"size", std::to_string(options_.size)},
                                           {"rows", std::to_string(options_.rows)},
                                           {"images", io::hash128(items)}};
    if (options_.list.lists.empty() && options_.list.tars.empty()) {
      all["val"] = fmt::format("{}", options_.split.val);
      all["test"] = fmt::format("{}", options_.split.test);
      all["seed"] = std::to_string(options_.split.seed);
      all["disjoint"] = options_.split.disjoint ? "yes" : "no";
      all["categories"] = boost::json::serialize(boost::json::array(sources_.categories.begin(), sources_.categories.end()));
    }
    return all;
  }

  /// False: the very dataset is there already. Throws UsageError over a folder of something else.
  bool claim_folder() {
    const fs::path finished = options_.out / "dataset.json";
    if (fs::exists(finished)) {
      io::expect_same(data::Manifest::read(finished).settings, manifest_.settings, finished);
      const data::Dataset check(options_.out);
      fs::remove(marker());  // a call that was killed in its last step
      core::info("{} is packed already; \"syncdr-data verify\" checks it", options_.out.string());
      return false;
    }
    if (fs::exists(marker())) {
      const auto there = data::Manifest::read(marker());
      io::expect_same(there.settings, manifest_.settings, marker());
      for (const auto& entry : there.entries) sealed_.emplace(entry.file, entry);
      read_quarantine();
    } else if (holds_something(options_.out)) {
      throw core::UsageError("{}: is not empty and no dataset of this program. Choose a new folder.", options_.out.string());
    }
    if (sealed_.empty()) write_marker();
    return true;
  }

  /// Something else than the temporary files of a call that was killed in its first step.
  static bool holds_something(const fs::path& folder) {
    if (!fs::exists(folder)) return false;
    return std::any_of(fs::directory_iterator(folder), {}, [](const auto& entry) { return entry.path().extension() != ".tmp"; });
  }

  void write_marker() const {
    data::Manifest unfinished = manifest_;
    unfinished.kind = "unfinished dataset";
    std::set<std::string> listed;
    for (const auto& entry : manifest_.entries) listed.insert(entry.file);
    for (const auto& [file, entry] : sealed_)
      if (!listed.contains(file)) unfinished.entries.push_back(entry);  // this call has not come to it
    unfinished.write(marker());
  }

  /// The reasons that an earlier call had found, by key; those of shards that are packed again are found again.
  void read_quarantine() {
    if (!fs::exists(quarantine_file())) return;
    const boost::json::value list = io::read_json(quarantine_file());
    const std::string where = quarantine_file().string();
    if (!list.is_array()) throw core::DataError("{}: is no list. Remove {} and pack again", where, options_.out.string());
    for (const auto& item : list.as_array()) {
      const auto& bad = io::as_object(item, where);
      known_bad_[io::json_string(bad, "key", where)] = bad;
    }
  }

  /// Keeps a shard that an earlier call has sealed, if it is still what it was then.
  bool keep(const std::string& file, std::span<const Source* const> images) {
    const auto found = sealed_.find(file);
    // What was bad may have been mended.
    const auto was_bad = [&](const Source* image) { return known_bad_.contains(image->key); };
    if (found == sealed_.end() || std::any_of(images.begin(), images.end(), was_bad)) return false;
    try {
      data::check_entry(options_.out, found->second, true);
    } catch (const core::DataError& error) {
      core::warn("{} It is packed again.", error.what());
      return false;
    }
    progress_->advance(static_cast<int64_t>(images.size()));
    return true;
  }

  void pack_part(const std::string& domain, const std::string& split, const std::vector<const Source*>& images) {
    const auto count = static_cast<int64_t>(images.size()), shards = (count + options_.rows - 1) / options_.rows;
    for (int64_t shard = 0; shard < shards; ++shard) {
      const std::string file = fmt::format("real/{}/{}-{:05d}-of-{:05d}.h5", domain, split, shard, shards);
      const int64_t first = shard * options_.rows, last = std::min(first + options_.rows, count);
      if (keep(file, std::span(images).subspan(static_cast<size_t>(first), static_cast<size_t>(last - first)))) {
        manifest_.entries.push_back(sealed_.at(file));
        continue;
      }
      data::ShardWriter writer(options_.out / file, {.domain = domain, .split = split, .codec = codec_, .height = options_.size, .width = options_.size});
      for (auto& row : prepare({images.begin() + first, images.begin() + last})) {
        if (row) writer.add(std::move(*row));
      }
      writer.seal();
      manifest_.entries.push_back(data::make_entry(options_.out, file, writer.rows()));
      write_quarantine();  // before the marker: what it says is sealed has its reasons there
      write_marker();
    }
  }

  /// The rows of a shard; nothing in place of a bad image.
  std::vector<std::optional<data::Row>> prepare(const std::vector<const Source*>& images) {
    std::vector<std::optional<data::Row>> rows(images.size());
    in_parallel(static_cast<int64_t>(images.size()), [&](int64_t i) {
      const Source& image = *images[static_cast<size_t>(i)];
      try {
        Prepared prepared = prepare_image(image, codec_, options_.size);
        rows[static_cast<size_t>(i)] = data::Row{image.key, image.label, std::move(prepared.bytes)};
        turned_ += prepared.turned ? 1 : 0;
      } catch (const core::DataError& error) {
        quarantine(image, error.what());
      }
      const std::lock_guard lock(mutex_);
      progress_->advance(1);
    });
    return rows;
  }

  void quarantine(const Source& image, const std::string& reason) {
    const std::lock_guard lock(mutex_);
    quarantined_[image.key] = {{"file", image.file.string()}, {"key", image.key}, {"split", image.split}, {"reason", reason}};
    core::warn("{}: {}", image.file.string(), reason);
    const auto bad = quarantined_.size(), all = sources_.images.size();
    if (static_cast<double>(bad) <= options_.max_bad_share * static_cast<double>(all)) return;
    write_quarantine();
    throw core::DataError(
        "{}: {}. This is bad image number {} of {} images, more than --max-bad-share {} allows. Mend or remove what {} lists, or raise --max-bad-share.",
        image.file.string(), reason, bad, all, options_.max_bad_share, quarantine_file().string());
  }

  /// Until the dataset is whole, with the reasons of shards that this call has not come to.
  void write_quarantine(bool whole = false) const {
    auto all = quarantined_;
    if (!whole) all.insert(known_bad_.begin(), known_bad_.end());
    if (all.empty()) {
      fs::remove(quarantine_file());
      return;
    }
    boost::json::array list;
    for (const auto& [key, value] : all) list.push_back(value);
    io::write_json(quarantine_file(), list);
  }

  /// What translate.image_prompts takes.
  void write_prompts() const {
    std::string lines;
    for (const Source& image : sources_.images)
      if (!image.prompt.empty()) lines += image.key + "\t" + image.prompt + "\n";
    if (!lines.empty()) io::write_file(options_.out / "prompts.tsv", lines);
  }

  void report() const {
    int64_t rows = 0;
    for (const auto& entry : manifest_.entries) rows += entry.rows;
    core::info("{}: {} images of {} domains in {} shards, {} bad ones left out", options_.out.string(), rows, sources_.domains.size(), manifest_.entries.size(),
               quarantined_.size());
    if (turned_ > 0) core::info("{} images were turned upright, as their EXIF says", turned_.load());
  }

  const PackOptions& options_;
  const Sources& sources_;
  data::Codec codec_;
  std::optional<core::Progress> progress_;
  data::Manifest manifest_;
  std::atomic<int64_t> turned_ = 0;
  std::mutex mutex_;  // of progress_ and quarantined_
  std::map<std::string, boost::json::object> quarantined_;
  std::map<std::string, data::ManifestEntry> sealed_;     ///< by an earlier call, by file
  std::map<std::string, boost::json::object> known_bad_;  ///< by an earlier call, by key
};

/// What is left out, and what will lack.
void say(const Sources& sources, bool folders) {
  for (const auto& [why, files] : sources.passed_over) core::warn("{} passed over, {}: {}", files.size(), why, core::some_of(files));
  const auto unlabelled = std::count_if(sources.images.begin(), sources.images.end(), [](const Source& image) { return image.label < 0; });
  if (folders && unlabelled == std::ssize(sources.images))
    core::warn("no image has a category: is what was named the folder of all domains, not a domain's own folder?");
  else if (unlabelled > 0) core::info("{} images have no category: they are trained on", unlabelled);
  constexpr std::pair<const char*, const char*> needs[] = {
      {"train", "cannot be trained on"}, {"val", "gives no best epoch"}, {"test", "cannot be reported on"}};
  for (const std::string& domain : sources.domains)
    for (const auto& [split, what] : needs) {
      const auto is_there = [&](const Source& image) { return image.domain == domain && image.split == split; };
      if (std::none_of(sources.images.begin(), sources.images.end(), is_there)) core::warn("the domain \"{}\" has no {} images: it {}", domain, split, what);
    }
}

}  // namespace

void pack(PackOptions options) {
  const Sources sources = find_sources(options);
  say(sources, !options.sources.empty());
  Packer(options, sources).pack();
}

}  // namespace syncdr::data_tools
