#include <boost/json.hpp>
#include <map>
#include <mutex>
#include <set>

#include "commands.h"
#include "parallel.h"
#include "runs.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/json.h"

/// syncdr-data verify: every file's hash, every row's checksum, every image decoded.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

class Verifier {
 public:
  explicit Verifier(const VerifyOptions& options) : options_(options) {}

  void verify() {
    const fs::path file = options_.root / "dataset.json";
    const data::Manifest manifest = data::Manifest::read(file);
    if (manifest.kind != "dataset") throw core::DataError("{}: is the manifest of a {}, not of a dataset", file.string(), manifest.kind);
    add(options_.root, manifest);
    for (const fs::path& run : translation_manifests(options_.root)) add(run.parent_path(), data::Manifest::read(run));
    check_files();
    if (problems_.empty()) check_keys(manifest);
    if (problems_.empty()) check_relations(manifest);
    finish();
  }

 private:
  struct File {
    fs::path folder;
    data::ManifestEntry entry;
  };

  void add(const fs::path& folder, const data::Manifest& manifest) {
    for (const data::ManifestEntry& entry : manifest.entries) files_.push_back({folder, entry});
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
    in_parallel(static_cast<int64_t>(files_.size()), [&](int64_t i) {
      const File& file = files_[static_cast<size_t>(i)];
      attempt(i, [&] {
        data::check_entry(file.folder, file.entry, true);
        const data::ShardReader shard(file.folder / file.entry.file);
        if (shard.rows() != file.entry.rows) {
          throw core::DataError("{}: has {} rows, the manifest says {}", shard.path().string(), shard.rows(), file.entry.rows);
        }
        shard.verify();
      });
      const std::lock_guard lock(mutex_);
      rows_ += file.entry.rows;
      bytes_ += file.entry.bytes;
      progress.advance(1);
    });
  }

  /// A key is an image's identity: it may occur once in a domain, over all splits.
  void check_keys(const data::Manifest& manifest) {
    std::map<std::string, std::string> first;  // "DOMAIN KEY" -> file
    attempt(0, [&] {
      for (const data::ManifestEntry& entry : manifest.entries) {
        const data::ShardReader shard(options_.root / entry.file);
        for (int64_t row = 0; row < shard.rows(); ++row) {
          const auto [seen, fresh] = first.emplace(shard.header().domain + " " + shard.key(row), entry.file);
          if (!fresh) throw core::DataError("{}: row {}: the key \"{}\" is also in {}", shard.path().string(), row, shard.key(row), seen->second);
        }
      }
    });
  }

  /// Shards lie under their own domain and split, splits are whole, runs belong to this dataset.
  void check_relations(const data::Manifest& manifest) {
    attempt(0, [&] {
      const data::Dataset dataset(options_.root);
      std::set<std::pair<std::string, std::string>> parts;
      for (const data::ManifestEntry& entry : manifest.entries) {
        const data::ShardReader shard(options_.root / entry.file);
        parts.emplace(shard.header().domain, shard.header().split);
      }
      for (const auto& [domain, split] : parts) dataset.real(domain, split);
      for (const fs::path& file : translation_manifests(options_.root)) {
        const std::string direction = file.parent_path().parent_path().filename().string(), run = file.parent_path().filename().string();
        const size_t to = direction.find("-to-");
        if (to == std::string::npos) throw core::DataError("{}: the folder is not named SOURCE-to-TARGET", file.parent_path().parent_path().string());
        dataset.synthetic(direction.substr(0, to), direction.substr(to + 4), run);
      }
    });
  }

  void finish() const {
    if (!options_.json.empty()) {
      boost::json::array problems;
      for (const auto& [index, message] : problems_) problems.emplace_back(message);
      io::write_json(options_.json, boost::json::object{{"files", files_.size()}, {"rows", rows_}, {"bytes", bytes_}, {"problems", problems}});
    }
    if (problems_.empty()) {
      core::info("{}: {} files, {} images, {} bytes: all good", options_.root.string(), files_.size(), rows_, bytes_);
      return;
    }
    throw core::DataError("{} ({} of {} files are bad)", problems_.begin()->second, problems_.size(), files_.size());
  }

  const VerifyOptions& options_;
  std::vector<File> files_;
  std::mutex mutex_;
  std::map<int64_t, std::string> problems_;  // by place in files_
  int64_t rows_ = 0, bytes_ = 0;
};

}  // namespace

void verify(const VerifyOptions& options) { Verifier(options).verify(); }

}  // namespace syncdr::data_tools
