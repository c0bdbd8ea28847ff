#include "syncdr/search/embed.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <thread>

#include "syncdr/comm/work_queue.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/core/stop.h"
#include "syncdr/data/loader.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"
#include "syncdr/retrieval/features.h"
#include "syncdr/search/feature_files.h"

namespace syncdr::search {
namespace {

namespace fs = std::filesystem;

int64_t times_embedded = 0;  // in this process, on every rank alike: a counter of the job serves once

/// A file to be made, and where its images lie.
struct EmbedTask {
  FeaturePart part;
  const data::ShardList* list;
};

/// The images of a domain's split.
using Lists = std::map<std::pair<std::string, std::string>, data::ShardList>;

Lists lists_of(const data::Dataset& dataset, const EmbedOptions& options) {
  const std::vector<std::string> splits = options.splits.empty() ? std::vector<std::string>{"train", "val", "test"} : options.splits;
  const auto& known = dataset.manifest().domains;
  for (const std::string& domain : options.domains)
    if (std::find(known.begin(), known.end(), domain) == known.end())
      throw core::UsageError("{}: there is no domain \"{}\", but {}", dataset.root().string(), domain, fmt::join(known, ", "));
  Lists lists;
  for (const std::string& split : splits) {
    bool found = false;
    for (const std::string& domain : options.domains) {
      if (!dataset.has(domain, split)) continue;
      found = true;
      lists.emplace(std::pair(domain, split), dataset.real(domain, split));
    }
    if (!found && !options.splits.empty())
      throw core::UsageError("{}: none of the domains {} has a split \"{}\"", dataset.root().string(), fmt::join(options.domains, ", "), split);
  }
  return lists;
}

std::vector<EmbedTask> tasks_of(const Lists& lists, int64_t rows_a_file) {
  std::vector<EmbedTask> tasks;
  for (const auto& [place, list] : lists) {
    const int64_t files = (list.rows() + rows_a_file - 1) / rows_a_file;
    for (int64_t file = 0; file < files; ++file) {
      const int64_t first = file * rows_a_file;
      tasks.push_back({{.file = fmt::format("{}/{}-{:05}-of-{:05}.h5", place.first, place.second, file, files),
                        .domain = place.first,
                        .split = place.second,
                        .first = first,
                        .rows = std::min(rows_a_file, list.rows() - first)},
                       &list});
    }
  }
  return tasks;
}

/// The names of labels that `syncdr-data pack` has kept, if it knew them.
std::vector<std::string> category_names(const data::Dataset& dataset) {
  std::vector<std::string> names;
  const auto& settings = dataset.manifest().settings;
  const auto kept = settings.find("categories");
  if (kept == settings.end()) return names;
  const auto list = io::parse_json(kept->second, (dataset.root() / "dataset.json").string());
  if (!list.is_array()) return names;
  for (const auto& name : list.get_array()) names.emplace_back(name.is_string() ? std::string(name.get_string()) : "");
  return names;
}

/// The folder's index with these settings: the one that is there, or a new one. Throws UsageError if it has others.
FeatureIndex claimed_index(const Model& model, const data::Dataset& dataset, const EmbedOptions& options, const io::Identity& settings) {
  const fs::path file = options.folder / FeatureIndex::name;
  FeatureIndex index{.model = model.name, .settings = settings, .dim = model.dim, .categories = category_names(dataset)};
  if (!fs::exists(file) && index.write_new(options.folder)) return index;
  index = FeatureIndex::read(options.folder, /*with_files=*/false);
  io::expect_same(index.settings, settings, file);
  return index;
}

/// One job's work on the files that are to be made.
class Embedding {
 public:
  Embedding(comm::World& world, Model& model, const EmbedOptions& options, const io::Identity& settings)
      : world_(world), model_(model), options_(options), settings_(settings), name_(fmt::format("embed, time {}", ++times_embedded)) {}

  /// Until none is left, on any rank, or all should stop.
  void run(const std::vector<EmbedTask>& tasks, EmbedResult& result) {
    int64_t images = 0;
    for (const EmbedTask& task : tasks) images += task.part.rows;
    core::Progress progress("features", images, "images");
    comm::WorkQueue queue(world_, name_, std::ssize(tasks));
    while (!should_stop()) {
      const auto index = queue.claim();
      if (!index) break;
      const EmbedTask& task = tasks[static_cast<size_t>(*index)];
      if (is_there(task)) result.skipped += task.part.rows;
      else if (make(task)) result.images += task.part.rows;
      progress.advance(task.part.rows);
      world_.add(name_ + "/ended", 1, "counting files of features");
    }
    // A file may take longer than a collective waits for.
    while (!should_stop() && world_.add(name_ + "/ended", 0, "waiting for files of features") < std::ssize(tasks))
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  /// Whether any rank was asked to.
  bool should_stop() {
    const bool here = core::stop_requested() && !told_;
    told_ = told_ || here;
    return world_.add(name_ + "/stopped", here ? 1 : 0, "asking whether to stop") > 0;
  }

 private:
  bool is_there(const EmbedTask& task) {
    const fs::path file = options_.folder / task.part.file;
    if (!fs::exists(file)) return false;
    try {
      const FeatureFile found(options_.folder, task.part, settings_, model_.dim);
      found.features();
      found.names();
      found.categories();
      return true;
    } catch (const core::DataError& error) {
      core::warn("{}. It is made anew", error.what());
      fs::remove(file);
      return false;
    }
  }

  /// False: it was stopped.
  bool make(const EmbedTask& task) {
    const auto& [part, list] = task;
    const int64_t call = retrieval::images_a_call(world_.device(), options_.batch), last = part.first + part.rows;
    const int64_t step = call * (world_.device().is_cpu() ? at::get_num_threads() : 1);
    const auto load = [&](int64_t number) {
      const int64_t first = part.first + number * step;
      return data::load_evaluation(*list, first, std::min(first + step, last), model_.views);
    };
    data::Prefetcher<at::Tensor> loader(load, 0, (part.rows + step - 1) / step, world_.threads(0));
    FeatureRows rows;
    std::vector<at::Tensor> features;
    while (!loader.done()) {
      if (should_stop()) return false;
      features.push_back(retrieval::features_of(model_.encoder, loader.next(), world_.device(), call).to(at::kCPU, at::kFloat));
    }
    rows.features = at::cat(features);
    for (int64_t row = part.first; row < last; ++row) {
      rows.names.push_back(list->key(row));
      rows.categories.push_back(list->label(row));
    }
    write_features(options_.folder, part, settings_, rows);
    return true;
  }

  comm::World& world_;
  Model& model_;
  const EmbedOptions& options_;
  const io::Identity& settings_;
  const std::string name_;
  bool told_ = false;  // the others of this rank's signal
};

}  // namespace

io::Identity settings_of(const Model& model, const data::Dataset& dataset, int64_t rows) {
  io::Identity settings = model.identity;
  settings["dataset"] = io::hash_file(dataset.root() / "dataset.json");
  settings["rows"] = std::to_string(rows);
  return settings;
}

EmbedResult embed_dataset(comm::World& world, Model& model, const data::Dataset& dataset, const EmbedOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.rows < 1) throw core::UsageError("{} images in a file: at least 1 is needed", options.rows);
  const Lists lists = lists_of(dataset, options);
  const std::vector<EmbedTask> tasks = tasks_of(lists, options.rows);
  const io::Identity settings = settings_of(model, dataset, options.rows);
  FeatureIndex index;
  world.root_only("claiming the folder of features", [&] { index = claimed_index(model, dataset, options, settings); });
  EmbedResult result;
  Embedding work(world, model, options, settings);
  work.run(tasks, result);
  if (world.any(work.should_stop(), "agreeing whether to stop"))
    throw core::StopRequested("{}: stopped on request; what is complete is kept, and the same command goes on", options.folder.string());
  world.root_only("writing the list of features", [&] {
    std::vector<FeaturePart> made;
    for (const EmbedTask& task : tasks) made.push_back(task.part);
    index.add(options.folder, made);
  });
  const std::vector<int64_t> root{std::ssize(index.parts)};
  result.parts = world.broadcast(root, 0, "the number of files").front();
  at::Tensor counts = at::tensor({result.images, result.skipped}, at::kLong);
  world.all_reduce_sum(counts, "counting images");
  result.images = counts[0].item<int64_t>();
  result.skipped = counts[1].item<int64_t>();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace syncdr::search
