#include "syncdr/translate/engine.h"

#include <ATen/ops/tensor.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "painter.h"
#include "sealed_units.h"
#include "survey.h"
#include "syncdr/comm/work_queue.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/hash.h"
#include "syncdr/translate/units.h"
#include "tally.h"

namespace syncdr::translate {
namespace {

/// What the run's bytes depend on, and its identity. Kept in run.json, in every unit, and in the manifest.
io::Identity settings_of(const TranslationTask& task, const Translator& translator, const TranslateConfig& config, const RunPrompts& prompts,
                         const RunMasks& masks, uint64_t seed) {
  auto settings = translator.provenance();
  settings.insert(prompts.provenance().begin(), prompts.provenance().end());
  settings.merge(masks.provenance());
  const io::Identity own{{"dataset", io::hash_file(task.dataset.root() / "dataset.json")},
                         {"source", task.source},
                         {"target", task.target},
                         {"split", task.split},
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
  return std::clamp<int64_t>(world.threads(0) / 2, 1, 8);
}

/// The images, of which there must be some.
data::ShardList sources_of(const TranslationTask& task) {
  auto rows = task.dataset.real(task.source, task.split);
  if (rows.rows() == 0) throw core::DataError("{}: {}/{} holds no images", task.dataset.root().string(), task.source, task.split);
  return rows;
}

void check_variants(const TranslateConfig& config, bool random) {
  if (config.variants > 1 && !random)
    throw core::UsageError("translate.variants is {}, but the translator \"{}\" draws nothing at random: all variants would be equal. Use 1", config.variants,
                           config.translator);
}

UnitLayout make_layout(const comm::World& world, const TranslationTask& task, const TranslateConfig& config, uint64_t seed, const Translator& translator) {
  check_variants(config, translator.is_random());
  auto rows = sources_of(task);
  RunPrompts prompts(texts_for(config, translator.prompt_kind(), task.target, rows), translator);
  RunMasks masks = masks_for(config, translator.takes_masks(), rows);
  UnitLayout layout{.rows = std::move(rows),
                    .prompts = std::move(prompts),
                    .masks = std::move(masks),
                    .folder = task.dataset.synthetic_folder(task.source, task.target, run_name(config)),
                    .seed = seed,
                    .size = translator.size(),
                    .batch = translator.batch(),
                    .variants = config.variants,
                    .codec_threads = threads_for(config, world)};
  layout.starts = unit_starts(layout.rows.rows(), config.unit_rows, config.taper, batch_rows(layout.variants, layout.batch));
  layout.header = {.domain = task.target,
                   .split = task.split,
                   .codec = data::codec_from_name(config.codec),
                   .height = layout.size,
                   .width = layout.size,
                   .provenance = settings_of(task, translator, config, layout.prompts, layout.masks, seed)};
  return layout;
}

/// One translation, in rounds: look at the folder, check what is sealed, make what nobody alive has claimed. What other jobs hold is looked at again
/// until it is sealed, or its owner is dead.
class Rounds {
 public:
  Rounds(comm::World& world, const UnitLayout& layout, const TranslateConfig& config, Translator& translator, std::string name)
      : world_(world), layout_(layout), config_(config), translator_(translator), name_(std::move(name)),
        claims_(layout.folder, fmt::format("rank {} of {} on {}, process {}", world.rank(), world.size(), world.host(), ::getpid()), claim_timeout()),
        surveyor_(world, layout, claim_timeout()), table_(layout.units()),
        may_be_bad_(static_cast<int64_t>(config.max_bad_share * static_cast<double>(layout.images()))) {}

  /// Returns when every unit is sealed and recorded. A collective. Throws StopRequested if a stop was asked for.
  void run(const std::string& what);
  /// After run: writes the manifest and sums up what this call has done. A collective.
  TranslateResult finish();

 private:
  io::Milliseconds claim_timeout() const { return io::Milliseconds(static_cast<int64_t>(config_.claim_timeout * 1000)); }
  void check(const std::vector<int64_t>& sealed);
  void make(const Survey& survey);
  void take_over(UnitTable& here);
  void make_here(comm::WorkQueue& queue, const Survey& survey, Tally& tally, UnitTable& made);
  std::optional<int64_t> next_unit(comm::WorkQueue& queue, const Survey& survey, Tally& tally, UnitTable& made);
  bool stop_wanted() { return stopped_ = world_.any(stopped_ || core::stop_requested(), "agreeing whether to stop"); }

  comm::World& world_;
  const UnitLayout& layout_;
  const TranslateConfig& config_;
  Translator& translator_;
  const std::string name_;
  io::Claims claims_;
  Surveyor surveyor_;
  UnitTable table_;
  const int64_t may_be_bad_;
  int64_t round_ = 0, skipped_ = 0;
  bool stopped_ = false;
  int64_t images_ = 0;  ///< made by this rank
  double seconds_ = 0;  ///< of this rank within the translator
};

/// Takes over what ranks have recorded in a step. Ranks then have the same table, so all throw or none.
void Rounds::take_over(UnitTable& here) {
  table_.gather(world_, here);
  if (table_.quarantined() > may_be_bad_)
    throw core::DataError("{}: {} of {} images are quarantined, more than {}. If that may be, raise translate.max_bad_share", layout_.folder.string(),
                          table_.quarantined(), layout_.images(), may_be_bad_);
}

/// Ranks share the checking of what is sealed.
void Rounds::check(const std::vector<int64_t>& sealed) {
  if (sealed.empty()) return;
  UnitTable checked(layout_.units());
  const auto name = fmt::format("{}/{}/check", name_, round_);
  Tally tally(world_, name, "check", static_cast<int64_t>(sealed.size()), "units", 0, config_.patience);
  tally.work_together([&] {
    comm::WorkQueue queue(world_, name, static_cast<int64_t>(sealed.size()));
    while (!tally.should_stop()) {
      const auto index = queue.claim();
      if (!index) return;
      if (const auto record = check_unit(layout_, sealed[static_cast<size_t>(*index)]).record) checked.add(*record);
      tally.add_done(1);
    }
  });
  take_over(checked);
}

/// The next unit for this rank to make. Claims it first, since another job may be at it; what turns out to be sealed meanwhile is recorded instead.
std::optional<int64_t> Rounds::next_unit(comm::WorkQueue& queue, const Survey& survey, Tally& tally, UnitTable& made) {
  while (!tally.should_stop()) {
    const auto index = queue.claim();
    if (!index) break;
    const auto unit = survey.open[static_cast<size_t>(*index)];
    const auto name = layout_.file_of(unit);
    if (!claims_.take(name, survey.generations[static_cast<size_t>(*index)])) {
      tally.add_elsewhere(layout_.images_of(unit));
      continue;
    }
    const auto checked = check_unit(layout_, unit);
    const bool lost = claims_.lost(name);
    if (!checked.record && !lost) {
      if (checked.there) std::filesystem::remove(layout_.path_of(unit));  // damaged, and nobody else's
      return unit;
    }
    if (checked.record) made.add(*checked.record);
    claims_.release(name);
    tally.add_elsewhere(layout_.images_of(unit));
  }
  return std::nullopt;
}

/// This rank's part of the open units, until none is left or all should stop.
void Rounds::make_here(comm::WorkQueue& queue, const Survey& survey, Tally& tally, UnitTable& made) {
  const auto may_be_bad = may_be_bad_ - table_.quarantined();
  UnitWriter writer(layout_, claims_);
  Painter painter(layout_, translator_);
  {
    ReadAhead reader(layout_, [&] { return next_unit(queue, survey, tally, made); });
    while (const auto batch = reader.next()) {
      const auto bad = painter.paint(*batch, writer);
      tally.add_done(batch->count);
      if (bad > 0 && tally.add_quarantined(bad) > may_be_bad)
        throw core::DataError("more than {} of {} images are quarantined, for the reasons above. If that may be, raise translate.max_bad_share", may_be_bad,
                              layout_.images());
      if (tally.should_stop()) break;
    }
  }
  for (const auto& record : writer.finish()) {
    made.add(record);
    images_ += record.entry.rows;
  }
  seconds_ += painter.seconds();
}

void Rounds::make(const Survey& survey) {
  if (survey.open.empty()) return;
  int64_t images = 0;
  for (const auto unit : survey.open) images += layout_.images_of(unit);
  UnitTable made(layout_.units());
  const auto name = fmt::format("{}/{}/translate", name_, round_);
  Tally tally(world_, name, "translate", layout_.images(), "images", layout_.images() - images, config_.patience);
  comm::WorkQueue queue(world_, name, static_cast<int64_t>(survey.open.size()));
  tally.work_together([&] { make_here(queue, survey, tally, made); });
  stopped_ = tally.should_stop();
  take_over(made);
}

void Rounds::run(const std::string& what) {
  for (bool idle = false; !table_.missing().empty() && !stop_wanted(); ++round_) {
    const auto before = table_.missing().size();
    auto survey = surveyor_.look(table_, idle);
    check(survey.sealed);
    if (stop_wanted()) break;
    if (round_ == 0) {
      skipped_ = table_.images(layout_);
      core::info("{}: {} images in {} units, {} of which are sealed", what, layout_.images(), layout_.units(), before - table_.missing().size());
    }
    for (const auto unit : survey.sealed)
      if (!table_.has(unit)) survey.add_open(unit, 0);  // damaged
    make(survey);
    idle = table_.missing().size() == before;
  }
  if (const auto left = table_.missing().size(); left > 0)
    throw core::StopRequested("{}: stopped with {} of {} units to go; the others are sealed. Run it again to go on", what, left, layout_.units());
}

TranslateResult Rounds::finish() {
  world_.root_only("writing a translation's manifest", [&] {
    surveyor_.tidy();
    write_manifest(layout_, table_);
  });
  TranslateResult result{.skipped = skipped_, .redrawn = table_.redrawn(), .quarantined = table_.quarantined()};
  const auto shares = world_.all_gather_rows(at::tensor({static_cast<double>(images_), seconds_}, at::kDouble).view({1, 2}), "what each rank did");
  for (int rank = 0; rank < world_.size(); ++rank) {
    result.images_by_rank.push_back(static_cast<int64_t>(shares[rank][0].item<double>()));
    result.images += result.images_by_rank.back();
    result.compute_seconds += shares[rank][1].item<double>();
  }
  return result;
}

}  // namespace

void check_translation(const TranslationTask& task, const TranslateConfig& config) {
  const TranslatorRow* row = find_translator(config.translator);
  if (!row) return;  // make_translator says so
  check_variants(config, row->random);
  if (row->check) row->check(config);
  if (config.translator == "ddib") domain_prompt(config, task.source, *row->prompt);
  const data::ShardList rows = sources_of(task);
  texts_for(config, row->prompt, task.target, rows);
  masks_for(config, config.translator == "elite", rows);
}

std::set<std::string> texts_of(const TranslationTask& task, const TranslateConfig& config) {
  const TranslatorRow* row = find_translator(config.translator);
  if (!row || !row->prompt) return {};
  const auto texts = texts_for(config, row->prompt, task.target, sources_of(task));
  std::set<std::string> all(texts.begin(), texts.end());
  all.insert(config.diffusion.negative_prompt);
  if (config.translator == "ddib") all.insert(domain_prompt(config, task.source, *row->prompt));
  return all;
}

std::string run_name(const TranslateConfig& config) { return config.run.empty() ? config.translator : config.run; }

TranslateResult translate_split(comm::World& world, const TranslationTask& task, const TranslateConfig& config, uint64_t seed, Translator& translator) {
  const auto start = std::chrono::steady_clock::now();
  // Counters in the store live as long as the job: each call has its own. Ranks make their calls in the same order.
  static std::atomic<int64_t> calls{0};
  const auto name = fmt::format("translate-{}", calls++);

  UnitLayout layout;
  world.together("planning a translation", [&] { layout = make_layout(world, task, config, seed, translator); });
  world.root_only("claiming a translation's folder", [&] { claim_folder(layout.folder, layout.header.provenance); });
  world.together("reading a translation's manifest", [&] { layout.hashes = recorded_hashes(layout.folder); });

  std::optional<Rounds> rounds;
  world.together("preparing to claim units", [&] { rounds.emplace(world, layout, config, translator, name); });
  rounds->run(fmt::format("{} to {} ({})", task.source, task.target, run_name(config)));
  auto result = rounds->finish();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace syncdr::translate
