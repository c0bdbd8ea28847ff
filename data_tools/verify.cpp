#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <tuple>

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
#include "syncdr/io/hdf5.h"
#include "syncdr/io/json.h"

/// syncdr-data verify: every file's hash, every row's checksum, every image decoded; images that occur twice, categories that training shares.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

/// What is kept of all real images, by their numbers: 28 bytes each, so that hundreds of millions fit.
struct Seen {
  std::vector<uint64_t> keys, contents, looks;  ///< hashes
  std::vector<int32_t> labels;

  explicit Seen(size_t images = 0) : keys(images), contents(images), looks(images), labels(images, -1) {}
};

/// What is wrong, or worth a look, with one image, beside another.
enum class Kind : uint8_t { copy, copy_across, look_alike };
constexpr std::array<const char*, 3> kind_names{"copy", "copy in another split", "looks alike in another split"};
struct Offender {
  uint32_t image, other;
  Kind kind;
};

class Verifier {
 public:
  explicit Verifier(const VerifyOptions& options) : options_(options) {}

  void verify() {
    const fs::path file = options_.root / "dataset.json";
    if (!fs::exists(file)) data::Dataset{options_.root};  // throws, and says what makes one
    manifest_ = data::Manifest::read(file);
    if (manifest_.kind != "dataset") throw core::DataError("{}: is the manifest of a {}, not of a dataset", file.string(), manifest_.kind);
    add(options_.root, manifest_, true);
    for (const fs::path& run : translation_manifests(options_.root)) add(run.parent_path(), data::Manifest::read(run), false);
    check_files();
    const size_t bad_files = problems_.size();
    if (problems_.empty()) check_keys();
    if (problems_.empty()) check_relations();
    if (problems_.empty()) {
      check_copies();
      report_look_alikes();
      check_categories();
    }
    finish(bad_files);
  }

 private:
  struct File {
    fs::path folder;
    data::ManifestEntry entry;
    bool real;
    int64_t first;  // of its images, of all real ones
    std::string domain, split;
    io::Extent keys = {};
  };

  void add(const fs::path& folder, const data::Manifest& manifest, bool real) {
    for (const data::ManifestEntry& entry : manifest.entries) {
      files_.push_back({folder, entry, real, images_, "", ""});
      if (!real) continue;
      starts_.push_back(images_);
      images_ += entry.rows;
      if (images_ > std::numeric_limits<uint32_t>::max()) throw core::DataError("{}: {} images are more than are checked at once", folder.string(), images_);
    }
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
    seen_ = Seen(static_cast<size_t>(images_));
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
        if (file.real) look_at(shard, static_cast<size_t>(file.first));
        else shard.verify();
      });
      const std::lock_guard lock(mutex_);
      rows_ += file.entry.rows;
      bytes_ += file.entry.bytes;
      progress.advance(1);
    });
  }

  void look_at(const data::ShardReader& shard, size_t image) {
    for (int64_t row = 0; row < shard.rows(); ++row, ++image) {
      check_text(shard.key(row), fmt::format("{}: row {}", shard.path().string(), row));
      const std::vector<uint8_t> bytes = shard.encoded(row);
      seen_.keys[image] = io::hash64(shard.header().domain + " " + shard.key(row));
      seen_.contents[image] = io::hash64({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      seen_.looks[image] = look_of(shard.image(row));
      seen_.labels[image] = shard.label(row);
    }
  }

  /// The file of a real image; those without rows are passed over.
  File& file_of(uint32_t image) { return files_[static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), image) - starts_.begin()) - 1]; }
  const std::string& split_of(uint32_t image) { return file_of(image).split; }

  /// Read from its place: of many images a shard each would be opened.
  std::string key_of(uint32_t image) {
    File& file = file_of(image);
    const fs::path path = file.folder / file.entry.file;
    if (file.keys.bytes == 0) file.keys = io::Hdf5Reader(path).extent("/key");
    const uint64_t width = file.keys.bytes / static_cast<uint64_t>(file.entry.rows);
    std::string key(width, '\0');
    io::InputFile(path).read_at(file.keys.offset + (image - static_cast<uint64_t>(file.first)) * width, {reinterpret_cast<uint8_t*>(key.data()), width});
    return key.substr(0, key.find('\0'));
  }

  /// Calls with(first, other) for every image beside the first one that has the same value.
  template <class With> static void each_twin(const std::vector<uint64_t>& values, const With& with) {
    std::vector<uint32_t> order(values.size());
    std::iota(order.begin(), order.end(), uint32_t{0});
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return values[a] != values[b] ? values[a] < values[b] : a < b; });
    for (size_t first = 0, i = 1; i < order.size(); ++i) {
      if (values[order[i]] == values[order[first]]) with(order[first], order[i]);
      else first = i;
    }
  }

  /// A key is an image's identity: it may occur once in a domain, over all splits.
  void check_keys() {
    attempt(0, [&] {
      each_twin(seen_.keys, [&](uint32_t first, uint32_t other) {
        const std::string key = key_of(other);
        if (file_of(first).domain != file_of(other).domain || key_of(first) != key) return;  // two of one hash
        const File& file = file_of(other);
        throw core::DataError("{}: row {}: the key \"{}\" is also in {}", (file.folder / file.entry.file).string(), other - file.first, key,
                              file_of(first).entry.file);
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
    int64_t across = 0, within = 0;
    std::string example;
    each_twin(seen_.contents, [&](uint32_t first, uint32_t other) {
      const bool splits = split_of(first) != split_of(other);
      (splits ? across : within) += 1;
      offenders_.push_back({other, first, splits ? Kind::copy_across : Kind::copy});
      if (splits && example.empty()) example = fmt::format("\"{}\" ({}) and \"{}\" ({})", key_of(first), split_of(first), key_of(other), split_of(other));
    });
    if (within > 0) core::warn("{} images are copies of another one of their split", within);
    if (across == 0) return;
    const std::string text = fmt::format("{} images are also in another split, as {}", across, example);
    if (options_.allow_copies) core::warn("{}", text);
    else problems_.emplace(0, fmt::format("{}: {}. What is tested on must not be trained on; --allow-copies takes it as it is", options_.root.string(), text));
  }

  void report_look_alikes() {
    constexpr size_t most = 100'000;
    const auto found = look_alikes(seen_.looks, most, [&](uint32_t first, uint32_t other) {
      return seen_.contents[first] != seen_.contents[other] && split_of(first) != split_of(other);
    });
    for (const auto& [first, other] : found) offenders_.push_back({other, first, Kind::look_alike});
    if (!found.empty())
      core::info("{}{} of images in two splits look alike{}", found.size() == most ? "at least " : "",
                 found.size() == 1 ? "1 pair" : fmt::format("{} pairs", found.size()), options_.csv.empty() ? "; --csv FILE lists them" : "");
  }

  /// Which categories domains share in training; that they share none where the dataset was packed so.
  void check_categories() {
    std::map<std::string, std::set<int32_t>> trained;
    for (const File& file : files_)
      if (file.real && file.split == "train")
        for (int64_t row = 0; row < file.entry.rows; ++row)
          if (const int32_t label = seen_.labels[static_cast<size_t>(file.first + row)]; label >= 0) trained[file.domain].insert(label);
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

  void write_csv() {
    std::sort(offenders_.begin(), offenders_.end(),
              [](const Offender& a, const Offender& b) { return std::tie(a.image, a.other) < std::tie(b.image, b.other); });
    io::AtomicFile file(options_.csv);
    io::OutputFile out(file.temporary());
    std::string lines = "kind,domain,split,key,other\n";
    for (const Offender& found : offenders_) {
      lines += fmt::format("{},{},{},{},{}\n", kind_names[static_cast<size_t>(found.kind)], csv_field(file_of(found.image).domain), split_of(found.image),
                           csv_field(key_of(found.image)), csv_field(split_of(found.other) + " " + key_of(found.other)));
      if (lines.size() < size_t{1} << 20) continue;
      out.write(lines);
      lines.clear();
    }
    out.write(lines);
    out.close();
    file.commit();
  }

  void finish(size_t bad_files) {
    if (!options_.csv.empty()) write_csv();
    if (!options_.json.empty()) {
      boost::json::array problems;
      for (const auto& [index, message] : problems_) problems.emplace_back(message);
      std::map<std::string, int64_t> kinds;
      for (const Offender& found : offenders_) ++kinds[kind_names[static_cast<size_t>(found.kind)]];
      boost::json::object offenders;
      for (const auto& [kind, count] : kinds) offenders[kind] = count;
      io::write_json(options_.json,
                     boost::json::object{{"files", files_.size()}, {"rows", rows_}, {"bytes", bytes_}, {"problems", problems}, {"offenders", offenders}});
    }
    if (problems_.empty()) {
      core::info("{}: {} files, {} images, {} bytes: all good", options_.root.string(), files_.size(), rows_, bytes_);
      return;
    }
    const std::string how_many = bad_files > 0 ? fmt::format(" ({} of {} files are bad)", bad_files, files_.size()) : "";
    throw core::DataError("{}{}", problems_.begin()->second, how_many);
  }

  const VerifyOptions& options_;
  data::Manifest manifest_;
  std::vector<File> files_;
  std::vector<int64_t> starts_;  // the first image of each real file: files_ begins with those
  int64_t images_ = 0;
  Seen seen_;
  std::vector<Offender> offenders_;
  std::mutex mutex_;
  std::map<int64_t, std::string> problems_;  // by place in files_
  int64_t rows_ = 0, bytes_ = 0;
};

}  // namespace

void verify(const VerifyOptions& options) { Verifier(options).verify(); }

}  // namespace syncdr::data_tools
