#include "packer.h"

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <sstream>

#include "pack_image.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/parallel.h"
#include "syncdr/core/progress.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/claims.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"

namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

/// auto: png where every image is a PNG or a TIFF, so that nothing is lost; jpeg otherwise.
data::Codec choose_codec(const PackOptions& options, const ImageTable& images) {
  if (options.codec != "auto") return data::codec_from_name(options.codec);
  for (size_t i = 0; i < images.size(); ++i)
    if (const std::string extension = images.extension(i); extension != ".png" && extension != ".tif" && extension != ".tiff") return data::Codec::jpeg;
  return data::Codec::png;
}

/// The images of one shard.
struct Unit {
  std::string_view domain, split;
  std::span<const uint32_t> images;  // places in the table
  int64_t shard = 0, shards = 0;     // its number, and how many the split has

  std::string file() const { return fmt::format("real/{}/{}-{:05d}-of-{:05d}.h5", domain, split, shard, shards); }
};

class Packer {
 public:
  Packer(Team& team, const PackOptions& options, Sources& sources) : team_(team), options_(options), sources_(sources), images_(sources.images) {}

  void pack() {
    bool go = false;
    team_.root_only("claiming the dataset's folder", [&] {
      codec_ = choose_codec(options_, images_);
      go = claim_folder();
      if (go) say_codec();
    });
    if (!team_.any(go, "agreeing whether there is something to pack")) return;
    if (team_.world()) images_.share(*team_.world());
    if (!team_.is_root()) codec_ = choose_codec(options_, images_);
    divide();
    const std::vector<data::ManifestEntry> entries = pack_units();
    team_.root_only("completing the dataset", [&] { complete(entries); });
  }

 private:
  void say_codec() const {
    if (options_.codec != "auto" || codec_ != data::Codec::jpeg) return;
    size_t without_loss = 0;
    for (size_t i = 0; i < images_.size(); ++i) without_loss += images_.extension(i) == ".png" ? 1 : 0;
    if (without_loss > 0)
      core::info("{} of {} images are PNG and are stored as JPEG, as the others are; --codec png stores every pixel as it is", without_loss, images_.size());
  }

  fs::path marker() const { return options_.out / "packing.json"; }  ///< while the dataset is not whole: its settings
  fs::path quarantine_file() const { return options_.out / "quarantine.json"; }
  /// What is wrong with images of a shard, until the dataset is whole.
  fs::path bad_file(const std::string& shard) const { return options_.out / fs::path(shard).replace_extension(".bad.json"); }

  /// Everything that decides the bytes of the dataset. Where its sources lie is left out, so that it can be made again on another machine.
  std::map<std::string, std::string> settings() const {
    io::Hasher128 items;
    for (size_t i = 0; i < images_.size(); ++i) {
      const Source image = images_.at(i);
      items.add(fmt::format("{}\n{}\n{}\n{}\n", image.domain, image.split, image.key, image.label));
      if (!image.prompt.empty()) items.add(fmt::format("prompt {}\n", image.prompt));
      if (*images_.mask(i) != '\0') items.add(fmt::format("mask {}\n", images_.mask(i)));
    }
    std::map<std::string, std::string> all{{"made by", "syncdr-data pack"},
                                           {"codec", data::codec_name(codec_)},
                                           {"size", std::to_string(options_.size)},
                                           {"rows", std::to_string(options_.rows)},
                                           {"images", items.digest()}};
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
    manifest_ = {.kind = "dataset", .name = io::last_name(options_.out), .domains = sources_.domains, .settings = settings()};
    const fs::path finished = options_.out / "dataset.json";
    if (fs::exists(finished)) {
      const auto there = data::Manifest::read(finished);
      io::expect_same(there.settings, manifest_.settings, finished);
      const data::Dataset check(options_.out);
      tidy(there.entries);  // after a call that was killed in its last step
      core::info("{} is packed already; \"syncdr-data verify\" checks it", options_.out.string());
      return false;
    }
    if (fs::exists(marker())) {
      io::expect_same(data::Manifest::read(marker()).settings, manifest_.settings, marker());
      return true;
    }
    if (holds_something(options_.out)) throw core::UsageError("{}: is not empty and no dataset of this program. Choose a new folder.", options_.out.string());
    data::Manifest unfinished = manifest_;
    unfinished.kind = "unfinished dataset";
    unfinished.write(marker());
    return true;
  }

  /// Something else than the temporary files of a call that was killed in its first step.
  static bool holds_something(const fs::path& folder) {
    if (!fs::exists(folder)) return false;
    return std::any_of(fs::directory_iterator(folder), {}, [](const auto& entry) { return entry.path().extension() != ".tmp"; });
  }

  void tidy(const std::vector<data::ManifestEntry>& entries) const {
    for (const auto& entry : entries) {
      fs::remove(bad_file(entry.file));
      fs::remove(options_.out / (entry.file + ".tmp"));  // of a call that was killed before another sealed the shard
    }
    fs::remove(marker());
  }

  /// Shards by domain and split, and the images of each.
  void divide() {
    for (size_t i = 0; i < images_.size(); ++i) parts_[{images_.domain(i), images_.split(i)}].push_back(static_cast<uint32_t>(i));
    const auto rows = static_cast<size_t>(options_.rows);
    for (const auto& [name, part] : parts_) {
      const size_t shards = (part.size() + rows - 1) / rows;
      for (size_t shard = 0; shard < shards; ++shard)
        units_.push_back({name.first, name.second, std::span(part).subspan(shard * rows, std::min(rows, part.size() - shard * rows)),
                          static_cast<int64_t>(shard), static_cast<int64_t>(shards)});
    }
  }

  /// All shards, each made by one rank; whatever that takes, no rank waits in a collective meanwhile.
  std::vector<data::ManifestEntry> pack_units() {
    std::string made;  // a line for each shard of this rank
    if (team_.is_root()) progress_.emplace("packing", static_cast<int64_t>(images_.size()), "images");
    team_.together("packing", [&] {
      Sealing before;
      const auto finish = [&] {
        if (!before.entry.valid()) return;
        made += line(before.index, before.entry.get());
        advance(0, std::ssize(units_[before.index].images));
      };
      while (!team_.stopped("packing")) {
        const auto index = static_cast<size_t>(team_.add("packing/claimed", 1) - 1);
        if (index >= units_.size()) break;
        const Unit& unit = units_[index];
        if (const auto entry = sealed(unit)) {
          made += line(index, *entry);
          advance(std::ssize(unit.images), std::ssize(unit.images));
          continue;
        }
        auto writer = pack_unit(unit);
        finish();
        before = {index, std::async(std::launch::async, [this, &unit, writer = std::move(writer)]() mutable { return seal(unit, std::move(writer)); })};
        if (held_ > most_beside) finish();
      }
      finish();
    });
    advance(0, 0);
    progress_.reset();
    turned_all_ = 0;
    std::vector<data::ManifestEntry> entries(units_.size());
    for (const std::string& text : team_.gather(fmt::format("{}\n{}", turned_.load(), made), "gathering what was packed")) {
      std::istringstream lines(text);
      int64_t turned = 0;
      lines >> turned;
      turned_all_ += turned;
      for (size_t index = 0; lines >> index;) lines >> entries[index].rows >> entries[index].bytes >> entries[index].hash;
    }
    for (size_t i = 0; i < units_.size(); ++i) entries[i].file = units_[i].file();
    return entries;
  }

  /// A shard that is being written, while the images of the next are read.
  struct Sealing {
    size_t index = 0;
    std::future<data::ManifestEntry> entry;
  };
  static constexpr size_t most_beside = size_t{256} << 20;  // bytes of images of such a shard: two of them are in memory

  static std::string line(size_t index, const data::ManifestEntry& entry) { return fmt::format("{} {} {} {}\n", index, entry.rows, entry.bytes, entry.hash); }

  using Writer = std::unique_ptr<data::ShardWriter>;

  Writer pack_unit(const Unit& unit) {
    Reasons bad;
    auto writer = std::make_unique<data::ShardWriter>(options_.out / unit.file(), header_of(unit));
    held_ = 0;
    for (auto& row : prepare(unit, bad)) {
      if (!row) continue;
      held_ += row->encoded.size();
      writer->add(std::move(*row));
    }
    write_bad(unit, bad);  // before the shard: who finds that sealed finds the reasons too
    return writer;
  }

  data::ManifestEntry seal(const Unit& unit, Writer writer) const {
    writer->seal();
    const int64_t rows = writer->rows();
    writer.reset();
    return data::make_entry(options_.out, unit.file(), rows);
  }

  data::ShardHeader header_of(const Unit& unit) const {
    return {.domain = std::string(unit.domain), .split = std::string(unit.split), .codec = codec_, .height = options_.size, .width = options_.size};
  }

  /// A shard that an earlier call has sealed, if it still holds these images. One that lacks broken images is packed again: they may have been mended.
  std::optional<data::ManifestEntry> sealed(const Unit& unit) const {
    const fs::path path = options_.out / unit.file();
    if (!fs::exists(path) || fs::exists(bad_file(unit.file()))) return std::nullopt;
    try {
      const data::ShardReader shard(path);
      if (shard.header() != header_of(unit)) throw core::DataError("{}: its attributes are not those of this dataset.", path.string());
      if (shard.rows() != std::ssize(unit.images)) throw core::DataError("{}: has {} rows, not {}.", path.string(), shard.rows(), unit.images.size());
      core::parallel_for(shard.rows(), team_.threads(), [&](int64_t row) {
        const uint32_t image = unit.images[static_cast<size_t>(row)];
        if (shard.key(row) != images_.key(image) || shard.label(row) != images_.label(image))
          throw core::DataError("{}: row {} is \"{}\", not \"{}\".", path.string(), row, shard.key(row), images_.key(image));
        shard.encoded(row);  // compares the checksum
      });
      return data::make_entry(options_.out, unit.file(), shard.rows());
    } catch (const core::DataError& error) {
      core::warn("{} It is packed again.", error.what());
      return std::nullopt;
    }
  }

  using Reasons = std::map<std::string, boost::json::object>;  // of broken images, by key

  /// The rows of a shard; nothing in place of a bad image.
  std::vector<std::optional<data::Row>> prepare(const Unit& unit, Reasons& bad) {
    std::vector<std::optional<data::Row>> rows(unit.images.size());
    core::parallel_for(std::ssize(rows), team_.threads(), [&](int64_t i) {
      const Source image = images_.at(unit.images[static_cast<size_t>(i)]);
      try {
        Prepared prepared = prepare_image(image, codec_, options_.size, options_.trust);
        rows[static_cast<size_t>(i)] = data::Row{image.key, image.label, std::move(prepared.bytes)};
        turned_ += prepared.turned ? 1 : 0;
      } catch (const core::DataError& error) {
        quarantine(unit, image, error.what(), bad);
      }
      advance(1, 0);
    });
    return rows;
  }

  void quarantine(const Unit& unit, const Source& image, const std::string& reason, Reasons& bad) {
    const std::lock_guard lock(mutex_);
    bad[image.key] = {{"file", image.file.string()}, {"key", image.key}, {"split", image.split}, {"reason", reason}};
    core::warn("{}: {}", image.file.string(), reason);
    const int64_t so_far = team_.add("packing/bad", 1);
    if (static_cast<double>(so_far) <= options_.max_bad_share * static_cast<double>(images_.size())) return;
    write_bad(unit, bad);
    write_quarantine();
    throw core::DataError(
        "{}: {}. This is bad image number {} of {} images, more than --max-bad-share {} allows. Mend or remove what {} lists, or raise --max-bad-share.",
        image.file.string(), reason, so_far, images_.size(), options_.max_bad_share, quarantine_file().string());
  }

  void write_bad(const Unit& unit, const Reasons& bad) const {
    const fs::path file = bad_file(unit.file());
    if (bad.empty()) {
      if (fs::exists(file)) fs::remove(file);  // where one cannot write, removing nothing fails, too
      return;
    }
    boost::json::array list;
    for (const auto& [key, value] : bad) list.push_back(value);
    io::write_json(file, list);
  }

  /// Of all shards, by key; how many there are.
  int64_t write_quarantine() const {
    Reasons all;
    for (const Unit& unit : units_) {
      const fs::path file = bad_file(unit.file());
      if (!fs::exists(file)) continue;
      const boost::json::value list = io::read_json(file);
      const std::string where = file.string();
      if (!list.is_array()) throw core::DataError("{}: is no list. Remove {} and pack again", where, options_.out.string());
      for (const auto& item : list.as_array()) {
        const auto& bad = io::as_object(item, where);
        all[io::json_string(bad, "key", where)] = bad;
      }
    }
    boost::json::array list;
    for (const auto& [key, value] : all) list.push_back(value);
    if (all.empty()) fs::remove(quarantine_file());
    else io::write_file(quarantine_file(), io::pretty_json(list), io::process_token());  // several ranks may come to it
    return std::ssize(all);
  }

  /// So many images more are in a shard of this rank, or in memory. Of several ranks the shards are counted.
  void advance(int64_t in_memory, int64_t in_shards) {
    const std::lock_guard lock(mutex_);
    if (team_.size() == 1) {
      progress_->advance(in_memory);
    } else if (in_memory == 0 || in_shards > 0) {
      const int64_t done = team_.add("packing/done", in_shards);
      if (progress_) progress_->advance(done - shown_);
      shown_ = done;
    }
  }

  void complete(const std::vector<data::ManifestEntry>& entries) {
    const int64_t bad = write_quarantine();
    int64_t rows = 0;
    for (const auto& entry : entries) rows += entry.rows;
    if (rows == 0) throw core::DataError("no image could be read, for the reasons that {} lists", quarantine_file().string());
    write_lines("prompts.tsv", [](const Source& image) { return image.prompt; });
    write_lines("masks.tsv", [](const Source& image) { return image.mask.empty() ? std::string() : fs::absolute(image.mask).lexically_normal().string(); });
    manifest_.entries = entries;
    manifest_.write(options_.out / "dataset.json");  // last: a folder without it is no dataset
    tidy(entries);
    core::info("{}: {} images of {} domains in {} shards, {} bad ones left out", options_.out.string(), rows, sources_.domains.size(), entries.size(), bad);
    if (turned_all_ > 0) core::info("{} images were turned upright, as their EXIF says", turned_all_);
  }

  /// A file of KEY<tab>TEXT for each image that has one, as translators take them; none without any.
  void write_lines(const char* name, const std::function<std::string(const Source&)>& text) const {
    std::optional<io::AtomicFile> file;
    std::optional<io::OutputFile> out;
    std::string lines;
    for (size_t i = 0; i < images_.size(); ++i) {
      const Source image = images_.at(i);
      const std::string value = text(image);
      if (value.empty()) continue;
      if (!file) {
        file.emplace(options_.out / name);
        out.emplace(file->temporary());
      }
      lines += image.key + "\t" + value + "\n";
      if (lines.size() < size_t{1} << 20) continue;
      out->write(lines);
      lines.clear();
    }
    if (!file) return;
    out->write(lines);
    out->close();
    file->commit();
  }

  Team& team_;
  const PackOptions& options_;
  Sources& sources_;
  ImageTable& images_;
  data::Codec codec_ = data::Codec::jpeg;
  data::Manifest manifest_;                                                     // rank 0's
  std::map<std::pair<std::string, std::string>, std::vector<uint32_t>> parts_;  // by domain and split
  std::vector<Unit> units_;
  std::atomic<int64_t> turned_ = 0;
  int64_t turned_all_ = 0;
  std::mutex mutex_;  // of what follows, and of reasons
  std::optional<core::Progress> progress_;
  int64_t shown_ = 0;
  size_t held_ = 0;  // bytes of images of the shard that was read last
};

}  // namespace

void pack_images(Team& team, const PackOptions& options, Sources& sources) { Packer(team, options, sources).pack(); }

}  // namespace syncdr::data_tools
