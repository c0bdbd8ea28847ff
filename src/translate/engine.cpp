#include "syncdr/translate/engine.h"

#include <ATen/ops/zeros.h>
#include <atomic>
#include <chrono>
#include <thread>

#include "painter.h"
#include "sealed_units.h"
#include "syncdr/comm/work_queue.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/hash.h"
#include "tally.h"
#include "together.h"

namespace syncdr::translate {
namespace {

/// What the run's bytes depend on, and its identity. Kept in run.json, in every unit, and in the manifest.
Settings settings_of(const data::Dataset& dataset, const Translator& translator, const std::string& source, const std::string& target,
                     const std::string& split, const TranslateConfig& config, const RunPrompts& prompts, uint64_t seed) {
  auto settings = translator.provenance();
  settings.merge(prompts.provenance());
  const Settings own{{"dataset", io::hash_file(dataset.root() / "dataset.json")},
                     {"source", source},
                     {"target", target},
                     {"split", split},
                     {"seed", std::to_string(seed)},
                     {"variants", std::to_string(config.variants)},
                     {"unit_rows", std::to_string(config.unit_rows)},
                     {"codec", config.codec}};
  for (const auto& [name, value] : own)
    SYNCDR_ASSERT(settings.emplace(name, value).second, "the translator's provenance holds \"{}\", which is the engine's", name);
  return settings;
}

int64_t threads_for(const TranslateConfig& config, const comm::World& world) {
  if (config.codec_threads > 0) return config.codec_threads;
  const int64_t cores = std::thread::hardware_concurrency();
  return std::clamp<int64_t>(cores / world.local_size() / 2, 1, 8);
}

Plan make_plan(const comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target, const std::string& split,
               const TranslateConfig& config, uint64_t seed, const Translator& translator) {
  if (config.variants > 1 && !translator.is_random())
    throw core::UsageError("translate.variants is {}, but the translator \"{}\" draws nothing at random: all variants would be equal. Use 1",
                           config.variants, config.translator);
  auto rows = dataset.real(source, split);
  if (rows.rows() == 0) throw core::DataError("{}: {}/{} holds no images", dataset.root().string(), source, split);
  auto prompts = read_run_prompts(config, translator, target, rows);
  Plan plan{.rows = std::move(rows),
            .prompts = std::move(prompts),
            .folder = dataset.synthetic_folder(source, target, run_name(config)),
            .seed = seed,
            .size = translator.size(),
            .batch = translator.batch(),
            .variants = config.variants,
            .unit_rows = config.unit_rows,
            .codec_threads = threads_for(config, world)};
  plan.header = {.domain = target,
                 .split = split,
                 .codec = data::codec_from_name(config.codec),
                 .height = plan.size,
                 .width = plan.size,
                 .provenance = settings_of(dataset, translator, source, target, split, config, plan.prompts, seed)};
  return plan;
}

/// Records of units as seen by all ranks. Each unit is recorded by one rank, so that a sum over ranks gathers them.
class UnitTable {
 public:
  explicit UnitTable(int64_t units) : values_(at::zeros({units, columns}, at::kLong)) {}

  void add(const UnitRecord& record) {
    const auto hash_half = [&](size_t half) { return static_cast<int64_t>(std::stoull(record.entry.hash.substr(16 * half, 16), nullptr, 16)); };
    const int64_t row[columns] = {1, record.entry.bytes, hash_half(0), hash_half(1), record.redrawn, record.quarantined};
    std::copy_n(row, columns, values_.data_ptr<int64_t>() + record.unit * columns);
  }
  void gather(comm::World& world) { world.all_reduce_sum(values_, "gathering the units' records"); }
  void merge(const UnitTable& other) { values_.add_(other.values_); }

  bool has(int64_t unit) const { return values_.data_ptr<int64_t>()[unit * columns] != 0; }
  int64_t redrawn() const { return values_.select(1, 4).sum().item<int64_t>(); }
  int64_t quarantined() const { return values_.select(1, 5).sum().item<int64_t>(); }
  data::ManifestEntry entry(const Plan& plan, int64_t unit) const {
    const auto* row = values_.data_ptr<int64_t>() + unit * columns;
    return {.file = plan.file_of(unit), .rows = plan.images_of(unit), .bytes = row[1], .hash = fmt::format("{:016x}{:016x}", uint64_t(row[2]), uint64_t(row[3]))};
  }

 private:
  static constexpr int64_t columns = 6;
  at::Tensor values_;  // [units, columns] int64: sealed, bytes, first and second half of the hash, redrawn, quarantined
};

std::vector<int64_t> units_without_record(const Plan& plan, const UnitTable& table) {
  std::vector<int64_t> missing;
  for (int64_t unit = 0; unit < plan.units(); ++unit)
    if (!table.has(unit)) missing.push_back(unit);
  return missing;
}

/// Ranks share the checking of what earlier calls sealed.
UnitTable check_units(comm::World& world, const Plan& plan, const std::string& name) {
  UnitTable table(plan.units());
  Tally tally(world, name, "check", plan.units(), "units", 0);
  tally.work_together([&] {
    comm::WorkQueue queue(world, name, plan.units());
    while (!tally.should_stop()) {
      const auto unit = queue.claim();
      if (!unit) return;
      if (const auto record = check_unit(plan, *unit)) table.add(*record);
      tally.add_done(1);
    }
  });
  table.gather(world);
  if (tally.should_stop()) throw core::StopRequested("stopped while sealed units were checked; nothing is lost. Run it again to go on");
  return table;
}

/// This rank's part of the missing units, until none is left or all should stop.
UnitTable make_units(comm::WorkQueue& queue, const Plan& plan, const std::vector<int64_t>& missing, int64_t may_be_bad, Translator& translator, Tally& tally) {
  ReadAhead reader(plan, [&]() -> std::optional<int64_t> {
    const auto index = queue.claim();
    return index ? std::optional(missing[static_cast<size_t>(*index)]) : std::nullopt;
  });
  UnitWriter writer(plan);
  Painter painter(plan, translator);
  while (const auto batch = reader.next()) {
    const auto bad = painter.paint(*batch, writer);
    tally.add_done(batch->count);
    if (bad > 0 && tally.add_quarantined(bad) > may_be_bad)
      throw core::DataError("more than {} of {} images are quarantined, for the reasons above. If that may be, raise translate.max_bad_share", may_be_bad,
                            plan.images());
    if (tally.should_stop()) break;
  }
  UnitTable made(plan.units());
  for (const auto& record : writer.finish()) made.add(record);
  return made;
}

/// All ranks translate the missing units. What they sealed, gathered.
UnitTable translate_units(comm::World& world, const Plan& plan, const std::string& name, const UnitTable& before, const std::vector<int64_t>& missing,
                          double max_bad_share, Translator& translator) {
  int64_t images = 0;
  for (const auto unit : missing) images += plan.images_of(unit);
  const auto may_be_bad = static_cast<int64_t>(max_bad_share * static_cast<double>(plan.images())) - before.quarantined();
  UnitTable made(plan.units());
  Tally tally(world, name, "translate", plan.images(), "images", plan.images() - images);
  comm::WorkQueue queue(world, name, static_cast<int64_t>(missing.size()));
  tally.work_together([&] { made = make_units(queue, plan, missing, may_be_bad, translator, tally); });
  made.gather(world);
  return made;
}

void write_manifest(const Plan& plan, const UnitTable& table) {
  data::Manifest manifest{.kind = "translation", .name = plan.folder.filename().string(), .settings = plan.header.provenance};
  for (int64_t unit = 0; unit < plan.units(); ++unit) manifest.entries.push_back(table.entry(plan, unit));
  manifest.write(plan.folder / manifest_name);
}

}  // namespace

std::string run_name(const TranslateConfig& config) { return config.run.empty() ? config.translator : config.run; }

TranslateResult translate_split(comm::World& world, const data::Dataset& dataset, const std::string& source, const std::string& target,
                                const std::string& split, const TranslateConfig& config, uint64_t seed, Translator& translator) {
  const auto start = std::chrono::steady_clock::now();
  // Counters in the store live as long as the job: each call has its own. Ranks make their calls in the same order.
  static std::atomic<int64_t> calls{0};
  const auto name = fmt::format("translate-{}", calls++);
  const auto what = fmt::format("{} to {} ({})", source, target, run_name(config));

  std::optional<Plan> planned;
  together(world, "planning a translation",
           [&] { planned.emplace(make_plan(world, dataset, source, target, split, config, seed, translator)); });
  const auto& plan = *planned;
  world.root_only("claiming a translation's folder", [&] { claim_folder(plan.folder, plan.header.provenance); });

  together(world, "reading a translation's manifest", [&] { planned->hashes = recorded_hashes(plan.folder); });
  auto table = check_units(world, plan, name + "/check");
  const auto missing = units_without_record(plan, table);
  TranslateResult result{.skipped = plan.images()};
  for (const auto unit : missing) result.skipped -= plan.images_of(unit);
  core::info("{}: {} images in {} units, {} of which are sealed", what, plan.images(), plan.units(), plan.units() - static_cast<int64_t>(missing.size()));

  if (!missing.empty()) {
    const auto made = translate_units(world, plan, name + "/translate", table, missing, config.max_bad_share, translator);
    for (const auto unit : missing) result.images += made.has(unit) ? plan.images_of(unit) : 0;
    table.merge(made);
    const auto left = units_without_record(plan, table).size();
    if (left > 0) throw core::StopRequested("{}: stopped with {} of {} units to go; the others are sealed. Run it again to go on", what, left, plan.units());
  }
  world.root_only("writing a translation's manifest", [&] { write_manifest(plan, table); });

  result.redrawn = table.redrawn();
  result.quarantined = table.quarantined();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace syncdr::translate
