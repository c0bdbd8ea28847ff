#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <mutex>
#include <numeric>
#include <set>

#include "commands.h"
#include "csv.h"
#include "look_alike.h"
#include "parallel.h"
#include "runs.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/core/some_of.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"

/// syncdr-data verify: every file's hash, every row's checksum, every image decoded; images that occur twice, categories that training shares.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

/// What is kept of a real image: 40 bytes, so that millions fit.
struct Seen {
  uint64_t key = 0, content = 0, look = 0;  ///< hashes
  uint32_t file = 0;
  int32_t row = 0, label = -1;
};

/// For people and programs: what is wrong, or worth a look, with one image.
struct Offender {
  std::string kind, domain, split, key, other;
};

class Verifier {
 public:
  explicit Verifier(const VerifyOptions& options) : options_(options) {}

  void verify() {
    const fs::path file = options_.root / "dataset.json";
    manifest_ = data::Manifest::read(file);
    if (manifest_.kind != "dataset") throw core::DataError("{}: is the manifest of a {}, not of a dataset", file.string(), manifest_.kind);
    add(options_.root, manifest_, true);
    for (const fs::path& run : translation_manifests(options_.root)) add(run.parent_path(), data::Manifest::read(run), false);
    check_files();
    if (problems_.empty()) check_keys();
    if (problems_.empty()) check_relations();
    if (problems_.empty()) {
      for (auto& images : seen_) {
        all_.insert(all_.end(), images.begin(), images.end());
        images = {};
      }
      check_copies();
      report_look_alikes();
      check_categories();
    }
    finish();
  }

 private:
  struct File {
    fs::path folder;
    data::ManifestEntry entry;
    bool real;
    std::string domain, split;
  };

  void add(const fs::path& folder, const data::Manifest& manifest, bool real) {
    for (const data::ManifestEntry& entry : manifest.entries) files_.push_back({folder, entry, real, "", ""});
  }

  /// Calls check; a DataError becomes the problem of place `index`: the first in order is reported, whichever thread was first.
  template <class Check> void attempt(int64_t index, const Check& check) {
    try {
      check();
    } catch (const core::DataError& error) {
      const std::lock_guard lock(mutex_);
      problems_.emplace(index, error.what());
    }
  }

  void check_files() {
    core::Progress progress("verifying", static_cast<int64_t>(files_.size()), "files");
    seen_.resize(files_.size());
    in_parallel(static_cast<int64_t>(files_.size()), [&](int64_t i) {
      File& file = files_[static_cast<size_t>(i)];
      attempt(i, [&] {
        data::check_entry(file.folder, file.entry, true);
        const data::ShardReader shard(file.folder / file.entry.file);
        if (shard.rows() != file.entry.rows) {
          throw core::DataError("{}: has {} rows, the manifest says {}", shard.path().string(), shard.rows(), file.entry.rows);
        }
        file.domain = shard.header().domain;
        file.split = shard.header().split;
        if (file.real) look_at(shard, static_cast<uint32_t>(i));
        else shard.verify();
      });
      const std::lock_guard lock(mutex_);
      rows_ += file.entry.rows;
      bytes_ += file.entry.bytes;
      progress.advance(1);
    });
  }

  void look_at(const data::ShardReader& shard, uint32_t file) {
    std::vector<Seen>& images = seen_[file];
    images.reserve(static_cast<size_t>(shard.rows()));
    for (int64_t row = 0; row < shard.rows(); ++row) {
      check_text(shard.key(row), fmt::format("{}: row {}", shard.path().string(), row));
      const std::vector<uint8_t> bytes = shard.encoded(row);
      images.push_back({.key = io::hash64(shard.header().domain + " " + shard.key(row)),
                        .content = io::hash64({reinterpret_cast<const char*>(bytes.data()), bytes.size()}),
                        .look = look_of(shard.image(row)),
                        .file = file,
                        .row = static_cast<int32_t>(row),
                        .label = shard.label(row)});
    }
  }

  data::ShardReader shard_of(const Seen& image) const { return data::ShardReader(options_.root / files_[image.file].entry.file); }
  std::string key_of(const Seen& image) const { return shard_of(image).key(image.row); }
  Offender offender(const char* kind, const Seen& image, const Seen& other) const {
    const File& file = files_[image.file];
    return {kind, file.domain, file.split, key_of(image), fmt::format("{} {}", files_[other.file].split, key_of(other))};
  }

  /// Calls with(first, other) for every image beside the first one that has the same value.
  template <class With> static void each_twin(const std::vector<const Seen*>& images, uint64_t Seen::* value, const With& with) {
    std::vector<const Seen*> order = images;
    std::stable_sort(order.begin(), order.end(), [&](const Seen* a, const Seen* b) { return a->*value < b->*value; });
    const Seen* first = nullptr;
    for (const Seen* image : order) {
      if (!first || image->*value != first->*value) first = image;
      else with(*first, *image);
    }
  }

  static std::vector<const Seen*> pointers(const std::vector<std::vector<Seen>>& of_files) {
    std::vector<const Seen*> all;
    for (const auto& images : of_files)
      for (const Seen& image : images) all.push_back(&image);
    return all;
  }

  /// A key is an image's identity: it may occur once in a domain, over all splits.
  void check_keys() {
    attempt(0, [&] {
      each_twin(pointers(seen_), &Seen::key, [&](const Seen& first, const Seen& other) {
        const std::string key = key_of(other);
        if (files_[first.file].domain != files_[other.file].domain || key_of(first) != key) return;  // two of one hash
        throw core::DataError("{}: row {}: the key \"{}\" is also in {}", shard_of(other).path().string(), other.row, key, files_[first.file].entry.file);
      });
    });
  }

  /// Shards lie under their own domain and split, splits are whole, runs belong to this dataset.
  void check_relations() {
    attempt(0, [&] {
      const data::Dataset dataset(options_.root);
      std::set<std::pair<std::string, std::string>> parts;
      for (const File& file : files_)
        if (file.real) parts.emplace(file.domain, file.split);
      for (const auto& [domain, split] : parts) dataset.real(domain, split);
      for (const fs::path& file : translation_manifests(options_.root)) {
        const std::string direction = file.parent_path().parent_path().filename().string(), run = file.parent_path().filename().string();
        const size_t to = direction.find("-to-");
        if (to == std::string::npos) throw core::DataError("{}: the folder is not named SOURCE-to-TARGET", file.parent_path().parent_path().string());
        dataset.synthetic(direction.substr(0, to), direction.substr(to + 4), run);
      }
    });
  }

  /// Images of the same bytes: in two splits they make figures look better than they are.
  void check_copies() {
    std::vector<const Seen*> images;
    for (const Seen& image : all_) images.push_back(&image);
    int64_t across = 0, within = 0;
    std::string example;
    each_twin(images, &Seen::content, [&](const Seen& first, const Seen& other) {
      const bool splits = files_[first.file].split != files_[other.file].split;
      (splits ? across : within) += 1;
      offenders_.push_back(offender(splits ? "copy in another split" : "copy", other, first));
      if (splits && example.empty())
        example = fmt::format("\"{}\" ({}) and \"{}\" ({})", key_of(first), files_[first.file].split, key_of(other), files_[other.file].split);
    });
    if (within > 0) core::warn("{} images are copies of another one of their split", within);
    if (across == 0) return;
    const std::string text = fmt::format("{} images are also in another split, as {}", across, example);
    if (options_.allow_copies) core::warn("{}", text);
    else problems_.emplace(0, fmt::format("{}: {}. What is tested on must not be trained on; --allow-copies takes it as it is", options_.root.string(), text));
  }

  void report_look_alikes() {
    constexpr size_t most = 100'000;
    std::vector<uint64_t> looks;
    for (const Seen& image : all_) looks.push_back(image.look);
    int64_t found = 0;
    for (const auto& [i, j] : look_alikes(looks, most)) {
      const Seen &first = all_[i], &other = all_[j];
      if (first.content == other.content || files_[first.file].split == files_[other.file].split) continue;
      ++found;
      offenders_.push_back(offender("looks alike in another split", other, first));
    }
    if (found > 0) core::info("{} pairs of images in two splits look alike{}", found, options_.csv.empty() ? "; --csv FILE lists them" : "");
  }

  /// Which categories domains share in training; that they share none where the dataset was packed so.
  void check_categories() {
    std::map<std::string, std::set<int32_t>> trained;
    for (const Seen& image : all_)
      if (files_[image.file].split == "train" && image.label >= 0) trained[files_[image.file].domain].insert(image.label);
    const auto setting = manifest_.settings.find("disjoint");
    const bool disjoint = setting != manifest_.settings.end() && setting->second == "yes";
    for (auto a = trained.begin(); a != trained.end(); ++a)
      for (auto b = std::next(a); b != trained.end(); ++b) {
        std::vector<int32_t> shared;
        std::set_intersection(a->second.begin(), a->second.end(), b->second.begin(), b->second.end(), std::back_inserter(shared));
        if (disjoint && !shared.empty())
          problems_.emplace(0, fmt::format("{}: {} and {} train on the same categories ({}), though the dataset was packed with --disjoint",
                                           options_.root.string(), a->first, b->first, core::some_of(shared)));
        else core::info("{} and {} share {} of {} and {} training categories", a->first, b->first, shared.size(), a->second.size(), b->second.size());
      }
  }

  void finish() const {
    if (!options_.csv.empty()) {
      std::string lines = "kind,domain,split,key,other\n";
      for (const Offender& found : offenders_)
        lines += fmt::format("{},{},{},{},{}\n", found.kind, csv_field(found.domain), found.split, csv_field(found.key), csv_field(found.other));
      io::write_file(options_.csv, lines);
    }
    if (!options_.json.empty()) {
      boost::json::array problems;
      for (const auto& [index, message] : problems_) problems.emplace_back(message);
      std::map<std::string, int64_t> kinds;
      for (const Offender& found : offenders_) ++kinds[found.kind];
      boost::json::object offenders;
      for (const auto& [kind, count] : kinds) offenders[kind] = count;
      io::write_json(options_.json,
                     boost::json::object{{"files", files_.size()}, {"rows", rows_}, {"bytes", bytes_}, {"problems", problems}, {"offenders", offenders}});
    }
    if (problems_.empty()) {
      core::info("{}: {} files, {} images, {} bytes: all good", options_.root.string(), files_.size(), rows_, bytes_);
      return;
    }
    throw core::DataError("{} ({} of {} files are bad)", problems_.begin()->second, problems_.size(), files_.size());
  }

  const VerifyOptions& options_;
  data::Manifest manifest_;
  std::vector<File> files_;
  std::vector<std::vector<Seen>> seen_;  // of each file
  std::vector<Seen> all_;
  std::vector<Offender> offenders_;
  std::mutex mutex_;
  std::map<int64_t, std::string> problems_;  // by place in files_
  int64_t rows_ = 0, bytes_ = 0;
};

}  // namespace

void verify(const VerifyOptions& options) { Verifier(options).verify(); }

}  // namespace syncdr::data_tools
