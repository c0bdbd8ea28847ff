#include <boost/json.hpp>
#include <set>

#include "commands.h"
#include "csv.h"
#include "export_table.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/data/dataset.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"
#include "tar.h"

/// syncdr-data export: a dataset's pictures and their translations as files, for other programs.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

/// A picture, with all that is known of it.
struct Picture {
  std::string domain, split, key, category, extension;
  int32_t label = -1;
  std::vector<uint8_t> bytes;
  std::string source_domain, run;  ///< of a translation; its key is its source's
  data::SourceRow source;
};

/// Where pictures go.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void add(const Picture& picture) = 0;
  virtual void finish() = 0;
};

/// OUT/real/DOMAIN/SPLIT/... and OUT/synthetic/SOURCE-to-TARGET/RUN/..., named after the keys, and OUT/pictures.csv, which `pack` reads.
class Folders : public Sink {
 public:
  explicit Folders(fs::path out) : out_(std::move(out)) {}

  void add(const Picture& picture) override {
    const fs::path file = place(picture);
    const std::string name = file.generic_string();
    if (!names_.insert(name).second) throw core::DataError("two pictures would become {}", (out_ / file).string());
    io::make_folder((out_ / file).parent_path());
    io::OutputFile output(out_ / file);
    output.write(picture.bytes);
    output.close();
    table_ += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}\n", csv_field(name), csv_field(picture.domain), picture.split, csv_field(picture.category),
                          picture.label, csv_field(picture.key), csv_field(picture.run), csv_field(picture.source_domain), picture.source.variant,
                          picture.source.seed, picture.source.status, csv_field(picture.source.prompt));
  }

  void finish() override { io::write_file(out_ / export_table, fmt::format("{}\n{}", export_columns, table_)); }

 private:
  static fs::path place(const Picture& picture) {
    const std::string own = picture.run.empty() ? picture.domain : picture.source_domain;
    fs::path within = picture.key.starts_with(own + "/") ? picture.key.substr(own.size() + 1) : picture.key;
    within = io::path_inside("", within.generic_string(), "key");
    std::string suffix = picture.run.empty() ? "" : fmt::format("-{}", picture.source.variant);
    // A picture that was stored in another format than its file's name says; two files may differ in that alone.
    const std::string written = within.extension().string();
    if (written != picture.extension && !(written == ".jpeg" && picture.extension == ".jpg")) suffix += picture.extension;
    within += suffix;
    if (picture.run.empty()) return fs::path("real") / picture.domain / picture.split / within;
    return fs::path("synthetic") / (picture.source_domain + "-to-" + picture.domain) / picture.run / within;
  }

  fs::path out_;
  std::set<std::string> names_;
  std::string table_;
};

/// OUT/DOMAIN-SPLIT-000000.tar and OUT/SOURCE-to-TARGET-RUN-000000.tar of so many samples: NUMBER.jpg or .png, .cls where there is a category, and .json.
class WebDataset : public Sink {
 public:
  WebDataset(fs::path out, int64_t rows) : out_(std::move(out)), rows_(rows) {}

  void add(const Picture& picture) override {
    const std::string set =
        picture.run.empty() ? picture.domain + "-" + picture.split : fmt::format("{}-to-{}-{}", picture.source_domain, picture.domain, picture.run);
    if (set != set_ || in_shard_ == rows_) {
      finish();
      if (set != set_) shard_ = 0;
      set_ = set;
      io::make_folder(out_);
      file_ = std::make_unique<io::AtomicFile>(out_ / fmt::format("{}-{:06}.tar", set, shard_++));
      tar_ = std::make_unique<TarWriter>(file_->temporary());
      in_shard_ = 0;
    }
    const std::string name = fmt::format("{:09}", (shard_ - 1) * rows_ + in_shard_++);
    boost::json::object json{{"key", picture.key}, {"domain", picture.domain}, {"split", picture.split}, {"label", picture.label}};
    if (!picture.category.empty()) json["category"] = picture.category;
    if (!picture.run.empty()) {
      json["run"] = picture.run;
      json["source_domain"] = picture.source_domain;
      json["variant"] = picture.source.variant;
      json["seed"] = picture.source.seed;
      json["status"] = picture.source.status;
      if (!picture.source.prompt.empty()) json["made_under"] = picture.source.prompt;
    }
    tar_->add(name + picture.extension, {reinterpret_cast<const char*>(picture.bytes.data()), picture.bytes.size()});
    if (picture.label >= 0) tar_->add(name + ".cls", std::to_string(picture.label));
    tar_->add(name + ".json", boost::json::serialize(json));
  }

  void finish() override {
    if (!tar_) return;
    tar_->close();
    tar_.reset();
    file_->commit();
    file_.reset();
  }

 private:
  fs::path out_;
  int64_t rows_, in_shard_ = 0, shard_ = 0;
  std::string set_;
  std::unique_ptr<io::AtomicFile> file_;
  std::unique_ptr<TarWriter> tar_;
};

class Exporter {
 public:
  Exporter(const ExportOptions& options, Sink& sink) : options_(options), sink_(sink), dataset_(options.dataset) {
    const auto& settings = dataset_.manifest().settings;
    if (const auto found = settings.find("categories"); found != settings.end()) {
      const auto names = io::parse_json(found->second, options.dataset.string());
      for (const auto& name : names.as_array()) categories_.emplace_back(name.as_string());
    }
  }

  void run() {
    const auto& domains = dataset_.manifest().domains;
    const auto wanted = [](const std::string& only, const std::string& name) { return only.empty() || only == name; };
    for (const auto& domain : {options_.domain, options_.to})
      if (!domain.empty() && std::find(domains.begin(), domains.end(), domain) == domains.end())
        throw core::UsageError("{} has no domain \"{}\"; it has {}", options_.dataset.string(), domain, fmt::join(domains, ", "));
    if (options_.run.empty()) {
      for (const auto& domain : domains)
        for (const char* split : {"train", "val", "test", "extra"})
          if (wanted(options_.domain, domain) && wanted(options_.split, split) && dataset_.has(domain, split)) add(dataset_.real(domain, split), "");
    } else {
      for (const auto& source : domains)
        for (const auto& target : domains)
          if (source != target && wanted(options_.domain, source) && wanted(options_.to, target)) add(dataset_.synthetic(source, target, options_.run), source);
    }
    if (count_ == 0) throw core::UsageError("there are no such pictures in {}", options_.dataset.string());
    sink_.finish();
    core::info("{}: {} pictures", options_.out.string(), count_);
  }

 private:
  /// source: of a translation; empty: real images.
  void add(const data::ShardList& list, const std::string& source) {
    core::Progress progress("exporting", list.rows(), "pictures");
    for (int64_t index = 0; index < list.shards(); ++index) {
      const data::ShardReader& shard = list.shard(index);
      for (int64_t row = 0; row < shard.rows(); ++row) {
        Picture picture{.domain = shard.header().domain, .split = shard.header().split, .key = shard.key(row), .label = shard.label(row)};
        if (picture.label >= 0)
          picture.category =
              static_cast<size_t>(picture.label) < categories_.size() ? categories_[static_cast<size_t>(picture.label)] : std::to_string(picture.label);
        if (!source.empty()) {
          picture.source_domain = source;
          picture.run = options_.run;
          picture.source = shard.source(row);
        }
        const bool raw = shard.header().codec == data::Codec::raw;
        picture.bytes = raw ? data::encode(shard.image(row), data::Codec::png) : shard.encoded(row);
        picture.extension = shard.header().codec == data::Codec::jpeg ? ".jpg" : ".png";
        sink_.add(picture);
        progress.advance(1);
        ++count_;
      }
    }
  }

  const ExportOptions& options_;
  Sink& sink_;
  data::Dataset dataset_;
  std::vector<std::string> categories_;
  int64_t count_ = 0;
};

}  // namespace

void export_files(const ExportOptions& options) {
  if (fs::exists(options.out) && !fs::is_empty(options.out)) throw core::UsageError("{}: is not empty. Choose a new folder", options.out.string());
  std::unique_ptr<Sink> sink;
  if (options.as == "folders") sink = std::make_unique<Folders>(options.out);
  else sink = std::make_unique<WebDataset>(options.out, options.rows);
  Exporter(options, *sink).run();
}

}  // namespace syncdr::data_tools
