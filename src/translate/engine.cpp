#include "syncdr/translate/engine.h"

#include <ATen/ops/tensor.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "painter.h"
#include "sealed_units.h"
#include "survey.h"
#include "syncdr/comm/work_queue.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/translate/units.h"
#include "tally.h"
#include "unit_table.h"

namespace syncdr::translate {
namespace {

/// What the run's bytes depend on, and its identity. Kept in run.json, in every unit, and in the manifest.
io::Identity settings_of(const data::Dataset& dataset, const Translator& translator, const std::string& source, const std::string& target,
                         const std::string& split, const TranslateConfig& config, const RunPrompts& prompts, uint64_t seed) {
  auto settings = translator.provenance();
  settings.merge(prompts.provenance());
  const io::Identity own{{"dataset", io::hash_file(dataset.root() / "dataset.json")},
                         {"source", source},
                         {"target", target},
                         {"split", split},
                         {"seed", std::to_string(seed)},
                         {"variants", std::to_string(config.variants)},
                         {"unit_rows", std::to_string(config.unit_rows)},
                         {"taper", std::to_string(config.taper)},
                         {"batch_rows", std::to_string(batch_rows(config.variants, translator.batch()))},
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
            .codec_threads = threads_for(config, world)};
  plan.starts = unit_starts(plan.rows.rows(), config.unit_rows, config.taper, batch_rows(plan.variants, plan.batch));
  plan.header = {.domain = target,
                 .split = split,
                 .codec = data::codec_from_name(config.codec),
                 .height = plan.size,
                 .width = plan.size,
                 .provenance = settings_of(dataset, translator, source, target, split, config, plan.prompts, seed)};
  return plan;
}

/// This rank's part of a translation in this call.
struct Share {
  int64_t images = 0;
  double seconds = 0;  ///< within the translator
};

/// One translation, in rounds: look at the folder, check what is sealed, make what nobody alive has claimed. What other jobs hold is looked at again
/// until it is sealed, or its owner is dead.
class Rounds {
 public:
  Rounds(comm::World& world, const Plan& plan, const TranslateConfig& config, Translator& translator, std::string name)
      : world_(world),
        plan_(plan),
        config_(config),
        translator_(translator),
        name_(std::move(name)),
        claims_(plan.folder, fmt::format("rank {} of {} on {}, process {}", world.rank(), world.size(), world.host(), ::getpid()), claim_timeout()),
        surveyor_(world, plan, claim_timeout()),
        table_(plan.units()),
        may_be_bad_(static_cast<int64_t>(config.max_bad_share * static_cast<double>(plan.images()))) {}

  /// Returns when every unit is sealed and recorded, or a stop was asked for. A collective.
  void run(const std::string& what);
  const UnitTable& table() const { return table_; }
  int64_t skipped() const { return skipped_; }
  const Share& share() const { return share_; }
  void tidy() { surveyor_.tidy(); }

 private:
  io::Milliseconds claim_timeout() const { return io::Milliseconds(static_cast<int64_t>(config_.claim_timeout * 1000)); }
  void check(const std::vector<int64_t>& sealed);
  void make(const std::vector<Survey::Open>& open);
  void check_quarantined() const;
  UnitTable make_here(comm::WorkQueue& queue, const std::vector<Survey::Open>& open, Tally& tally);
  std::optional<int64_t> next_unit(comm::WorkQueue& queue, const std::vector<Survey::Open>& open, Tally& tally, std::vector<UnitRecord>& found);
  bool stop_wanted() { return stopped_ = world_.any(stopped_ || core::stop_requested(), "agreeing whether to stop"); }

  comm::World& world_;
  const Plan& plan_;
  const TranslateConfig& config_;
  Translator& translator_;
  const std::string name_;
  io::Claims claims_;
  Surveyor surveyor_;
  UnitTable table_;
  const int64_t may_be_bad_;
  int64_t round_ = 0, skipped_ = 0;
  bool stopped_ = false;
  Share share_;
};

/// Ranks share the checking of what is sealed.
void Rounds::check(const std::vector<int64_t>& sealed) {
  if (sealed.empty()) return;
  UnitTable checked(plan_.units());
  const auto name = fmt::format("{}/{}/check", name_, round_);
  Tally tally(world_, name, "check", static_cast<int64_t>(sealed.size()), "units", 0, config_.patience);
  tally.work_together([&] {
    comm::WorkQueue queue(world_, name, static_cast<int64_t>(sealed.size()));
    while (!tally.should_stop()) {
      const auto index = queue.claim();
      if (!index) return;
      if (const auto record = check_unit(plan_, sealed[static_cast<size_t>(*index)]).record) checked.add(*record);
      tally.add_done(1);
    }
  });
  checked.gather(world_);
  table_.merge(checked);
  check_quarantined();
}

/// The next unit for this rank to make. Claims it first, since another job may be at it; what turns out to be sealed meanwhile is recorded instead.
std::optional<int64_t> Rounds::next_unit(comm::WorkQueue& queue, const std::vector<Survey::Open>& open, Tally& tally, std::vector<UnitRecord>& found) {
  while (!tally.should_stop()) {
    const auto index = queue.claim();
    if (!index) break;
    const auto [unit, generation] = open[static_cast<size_t>(*index)];
    const auto name = plan_.file_of(unit);
    if (!claims_.take(name, generation)) {
      tally.add_elsewhere(plan_.images_of(unit));
      continue;
    }
    auto checked = check_unit(plan_, unit);
    const bool lost = claims_.lost(name);
    if (!checked.record && !lost) {
      if (checked.there) std::filesystem::remove(plan_.path_of(unit));  // damaged, and nobody else's
      return unit;
    }
    if (checked.record) found.push_back(std::move(*checked.record));
    claims_.release(name);
    tally.add_elsewhere(plan_.images_of(unit));
  }
  return std::nullopt;
}

/// This rank's part of the open units, until none is left or all should stop.
UnitTable Rounds::make_here(comm::WorkQueue& queue, const std::vector<Survey::Open>& open, Tally& tally) {
  const auto may_be_bad = may_be_bad_ - table_.quarantined();
  std::vector<UnitRecord> found;
  UnitTable made(plan_.units());
  UnitWriter writer(plan_, claims_);
  Painter painter(plan_, translator_);
  {
    ReadAhead reader(plan_, [&] { return next_unit(queue, open, tally, found); });
    while (const auto batch = reader.next()) {
      const auto bad = painter.paint(*batch, writer);
      tally.add_done(batch->count);
      if (bad > 0 && tally.add_quarantined(bad) > may_be_bad)
        throw core::DataError("more than {} of {} images are quarantined, for the reasons above. If that may be, raise translate.max_bad_share", may_be_bad,
                              plan_.images());
      if (tally.should_stop()) break;
    }
  }
  for (const auto& record : writer.finish()) {
    made.add(record);
    share_.images += record.entry.rows;
  }
  for (const auto& record : found) made.add(record);
  share_.seconds += painter.seconds();
  return made;
}

/// Of all jobs. Ranks have the same table, so all throw or none.
void Rounds::check_quarantined() const {
  if (table_.quarantined() > may_be_bad_)
    throw core::DataError("{}: {} of {} images are quarantined, more than {}. If that may be, raise translate.max_bad_share", plan_.folder.string(),
                          table_.quarantined(), plan_.images(), may_be_bad_);
}

void Rounds::make(const std::vector<Survey::Open>& open) {
  if (open.empty()) return;
  int64_t images = 0;
  for (const auto& [unit, generation] : open) images += plan_.images_of(unit);
  UnitTable made(plan_.units());
  const auto name = fmt::format("{}/{}/translate", name_, round_);
  Tally tally(world_, name, "translate", plan_.images(), "images", plan_.images() - images, config_.patience);
  comm::WorkQueue queue(world_, name, static_cast<int64_t>(open.size()));
  tally.work_together([&] { made = make_here(queue, open, tally); });
  stopped_ = tally.should_stop();
  made.gather(world_);
  table_.merge(made);
  check_quarantined();
}

void Rounds::run(const std::string& what) {
  for (bool idle = false; !table_.missing().empty() && !stop_wanted(); ++round_) {
    const auto before = table_.missing().size();
    auto survey = surveyor_.look(table_, idle);
    check(survey.sealed);
    if (stop_wanted()) return;
    if (round_ == 0) {
      skipped_ = table_.images(plan_);
      core::info("{}: {} images in {} units, {} of which are sealed", what, plan_.images(), plan_.units(), before - table_.missing().size());
    }
    for (const auto unit : survey.sealed)
      if (!table_.has(unit)) survey.open.push_back({unit, 0});  // damaged
    make(survey.open);
    idle = table_.missing().size() == before;
  }
}

void write_manifest(const Plan& plan, const UnitTable& table) {
  data::Manifest manifest{.kind = "translation", .name = plan.folder.filename().string(), .settings = plan.header.provenance};
  for (int64_t unit = 0; unit < plan.units(); ++unit) manifest.entries.push_back(table.entry(plan, unit));
  // One that says the same stays as it is: another job may have written it long ago.
  if (!io::write_new_file(plan.folder / manifest_name, manifest.text(), io::process_token()) && io::read_file(plan.folder / manifest_name) != manifest.text())
    io::write_file(plan.folder / manifest_name, manifest.text(), io::process_token());
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
  world.together("planning a translation",
           [&] { planned.emplace(make_plan(world, dataset, source, target, split, config, seed, translator)); });
  const auto& plan = *planned;
  world.root_only("claiming a translation's folder", [&] { claim_folder(plan.folder, plan.header.provenance); });
  world.together("reading a translation's manifest", [&] { planned->hashes = recorded_hashes(plan.folder); });

  std::optional<Rounds> rounds;
  world.together("preparing to claim units", [&] { rounds.emplace(world, plan, config, translator, name); });
  rounds->run(what);
  if (const auto left = rounds->table().missing().size(); left > 0)
    throw core::StopRequested("{}: stopped with {} of {} units to go; the others are sealed. Run it again to go on", what, left, plan.units());
  world.root_only("writing a translation's manifest", [&] {
    rounds->tidy();
    write_manifest(plan, rounds->table());
  });

  TranslateResult result{.skipped = rounds->skipped(), .redrawn = rounds->table().redrawn(), .quarantined = rounds->table().quarantined()};
  const auto shares = world.all_gather_rows(at::tensor({static_cast<double>(rounds->share().images), rounds->share().seconds}, at::kDouble).view({1, 2}), "what each rank did");
  for (int rank = 0; rank < world.size(); ++rank) {
    result.images_by_rank.push_back(static_cast<int64_t>(shares[rank][0].item<double>()));
    result.images += result.images_by_rank.back();
    result.compute_seconds += shares[rank][1].item<double>();
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace syncdr::translate
