#include "phases.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <set>

#include "calls.h"
#include "checks.h"
#include "commands.h"
#include "fits.h"
#include "report.h"
#include "retention.h"
#include "syncdr/core/log.h"
#include "syncdr/diffusion/learned_tokens.h"
#include "syncdr/evaluation/validate.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/translate/engine.h"

namespace syncdr::app {
namespace {

namespace fs = std::filesystem;

/// The translated set of a part of an arm: a translator's is named after the run folder, so that runs do not mix.
std::string set_of(const Settings& settings, const ArmPart& part) {
  if (!part.translator) return part.base;
  if (part.base == settings.translate.translator && !settings.translate.run.empty()) return settings.translate.run;
  return io::last_name(settings.run.out) + "-" + part.base;
}

/// The translated sets that an arm trains on; none: cds.
std::vector<data::TranslatedSet> sets_of(const Settings& settings, const Arm& arm) {
  const auto shares = shares_of(settings);
  std::vector<data::TranslatedSet> sets;
  for (const ArmPart& part : arm.parts) {
    const auto share = shares.find(part.base);
    sets.push_back({.run = set_of(settings, part),
                    .share = share == shares.end() ? 1 : share->second,
                    .variants = part.variants > 0 ? part.variants : settings.train.variants});
  }
  return sets;
}

/// "structure diffusion, 3 variants"
std::string title_of(const Settings& settings, const ArmPart& part) {
  const std::string title(part.translator ? part.translator->title : part.base == "true" ? "true counterparts (ceiling)" : part.base);
  if (part.variants == 0 && !(part.translator && part.translator->random)) return title;
  const int64_t variants = part.variants > 0 ? part.variants : settings.translate.variants;
  return fmt::format("{}, {} variant{}", title, variants, variants == 1 ? "" : "s");
}

/// Their names.
std::vector<std::string> names_of(const Settings& settings, const Arm& arm) {
  std::vector<std::string> names;
  for (const ArmPart& part : arm.parts) names.push_back(set_of(settings, part));
  return names;
}

std::string title_of(const Settings& settings, const Arm& arm) {
  if (arm.plain) return arm.plain->title + (!arm.plain->trained && settings.train.encoder.weights.empty() ? " (random weights)" : "");
  std::vector<std::string> titles;
  for (const ArmPart& part : arm.parts) titles.push_back(title_of(settings, part));
  return fmt::format("SynCDR, {}", fmt::join(titles, " and "));
}

std::vector<fs::path> marks_in(const std::vector<fs::path>& folders, const std::vector<std::string>& names) {
  std::vector<fs::path> marks;
  for (const auto& folder : folders)
    for (const auto& name : names) marks.push_back(folder / name);
  return marks;
}

std::string task_name(const std::string& phase, const std::string& subject) { return subject.empty() ? phase : phase + "-" + Arm(subject).folder(); }

std::vector<PhaseTask> fit_tasks(const Settings& settings, const Arm& arm) {
  std::vector<PhaseTask> tasks;
  for (const ArmPart& part : arm.parts)
    for (const Fit* fit : missing_fits(settings, part))
      tasks.push_back({.subject = fit->name, .most_ranks = fit->most_ranks(settings.fit), .first = {fit->name}});
  return tasks;
}

/// How a translator is applied. One setting of variants serves all translators of a job: those beside translate.translator that draw nothing have one.
translate::TranslateConfig translation(const Settings& settings, const ArmPart& part) {
  translate::TranslateConfig config = settings.translate;
  config.translator = part.base;
  config.run = set_of(settings, part);
  if (!part.translator->random && part.base != settings.translate.translator) config.variants = 1;
  return config;
}

std::vector<PhaseTask> translate_tasks(const Settings& settings, const Arm& arm) {
  std::vector<PhaseTask> tasks;
  for (const ArmPart& part : arm.parts) {
    if (!part.translator) continue;
    const translate::TranslateConfig config = translation(settings, part);
    translate::check_prompts_set(config);
    PhaseTask& task = tasks.emplace_back(PhaseTask{.subject = part.base});
    for (const Fit* fit : missing_fits(settings, part)) task.needs.push_back(task_name("fit", fit->name));
    if (part.base == settings.translate.translator) continue;
    task.last = {"--set", "translate.translator=" + config.translator, "--set", "translate.run=" + config.run};
    if (config.variants != settings.translate.variants) task.last.insert(task.last.end(), {"--set", fmt::format("translate.variants={}", config.variants)});
  }
  return tasks;
}

std::vector<PhaseTask> train_tasks(const Settings& settings, const Arm& arm) {
  if (!arm.trained()) return {};
  PhaseTask task{.subject = arm.name, .most_ranks = settings.train.batch, .last = {"--arm", arm.name}};
  for (const ArmPart& part : arm.parts)
    if (part.translator) task.needs.push_back(task_name("translate", part.base));
  return {task};
}

std::vector<fs::path> translate_marks(const Job& job, const std::string& translator) {
  std::vector<fs::path> folders;
  for (const auto& [source, target] : job.directions())
    folders.push_back(job.dataset.synthetic_folder(source, target, set_of(job.settings, ArmPart(translator))));
  return marks_in(folders, {"run.json"});
}

void check_fit(const Job& job, const std::vector<std::string>& models) {
  check_writable(job, job.out, "run.out");
  for (const auto& model : models) named(fits(), model).check(job);
}

/// The learned tokens that a translator's texts may hold.
std::vector<std::string> learned_names(const Job& job, const translate::TranslatorRow& translator) {
  std::vector<std::string> names;
  for (const auto& file : job.settings.translate.diffusion.tokens)
    for (const auto& token : diffusion::read_learned_tokens(file)) names.push_back(token.name);
  if (uses_fitted_tokens(job.settings, translator))
    for (const auto& token : fit::tokens_of(job.settings.fit.textual_inversion, job.domains)) names.push_back(token.name);
  return names;
}

/// A token that no text holds was named, or learned, in vain: mostly the prompt file is an older one.
void warn_of_unused_tokens(const Job& job, const std::string& translator) {
  const ArmPart part(translator);
  if (!part.translator->prompt || core::log_rank() != 0) return;
  std::set<std::string> texts;
  for (const auto& [source, target] : job.directions())
    texts.merge(translate::texts_of({job.dataset, source, target, "train"}, translation(job.settings, part)));
  for (const auto& token : learned_names(job, *part.translator))
    if (std::none_of(texts.begin(), texts.end(), [&](const auto& text) { return text.find(token) != std::string::npos; }))
      core::warn("no text of the translator {} holds the learned token {}: write it into translate.prompts where it is meant, or leave it out", translator,
                 token);
}

void check_translate(const Job& job, const std::vector<std::string>& translators) {
  for (const auto& translator : translators) {
    for (const auto& [source, target] : job.directions()) {
      const auto config = translation(job.settings, ArmPart(translator));
      check_writable(job, job.dataset.synthetic_folder(source, target, config.run), "data.root");
      translate::check_translation({job.dataset, source, target, "train"}, config);
    }
    warn_of_unused_tokens(job, translator);
  }
}

/// Translates all domains' training images, each into every other's look.
boost::json::object run_translate(Job& job, const std::string& translator) {
  for (const auto& direction : job.directions())  // the last one's model may be missing
    translate::check_translation({job.dataset, direction.source, direction.target, "train"}, translation(job, translator, direction));
  boost::json::object figures;
  std::unique_ptr<translate::Translator> made;
  for (const auto& direction : job.directions()) {
    const translate::TranslateConfig config = translation(job, translator, direction);
    made = translate::make_translator(config, direction.source, direction.target, job.world.device());  // before the last one goes: they may share networks
    const auto result = translate::translate_split(job.world, {job.dataset, direction.source, direction.target, "train"}, config, job.seed(), *made);
    figures[direction.name()] = {
        {"images", result.images},       {"skipped", result.skipped},
        {"redrawn", result.redrawn},     {"quarantined", result.quarantined},
        {"seconds", result.seconds},     {"compute_seconds", result.compute_seconds},
        {"ranks", job.world.size()},     {"images_by_rank", boost::json::array(result.images_by_rank.begin(), result.images_by_rank.end())},
        {"batch", made->batch()},        {"variants", config.variants},
        {"unit_rows", config.unit_rows}, {"taper", config.taper}};
  }
  return figures;
}

evaluation::EvaluationData evaluation_data(const Job& job, const std::string& split) {
  return {job.dataset, job.domains, split, job.settings.train.augment, job.seed()};
}

/// On validation images, and pairs of these translated sets.
retrieval::Validation validation(Job& job, retrieval::Encoder& encoder, const std::vector<std::string>& sets, const std::string& centre,
                                 retrieval::PooledFeatures* pooled = nullptr) {
  auto data = evaluation_data(job, "val");
  data.centre = centre;
  data.pooled = pooled;
  return evaluation::validate(job.world, encoder, data, sets, job.settings.evaluate.batch);
}

/// Trains the retrieval model of one arm.
boost::json::object run_train(Job& job, const std::string& name) {
  const Arm arm(name);
  if (!arm.trained()) throw core::UsageError("there is nothing to train in the arm {}: `syncdr evaluate --arm {}` measures it", arm.name, arm.name);
  const auto& settings = job.settings;
  retrieval::PooledFeatures pooled;
  const auto validate = [&](retrieval::Encoder& encoder) {
    return validation(job, encoder, names_of(settings, arm), "", retrieval::keeps_features(settings.train) ? &pooled : nullptr);
  };
  core::info("train {}: {}", arm.name, title_of(settings, arm));
  retrieval::TrainConfig config = settings.train;
  if (const std::string remark = retrieval::check_sizes(config.encoder, config.augment.crop); !remark.empty()) core::info("{}", remark);
  config.kept_folder = job.kept_folder().string();
  auto sets = sets_of(settings, arm);
  for (auto& set : sets) set.weights = pair_weights_of(job, set.run);
  const bool validates = !without_validation(job);
  const auto result = retrieval::train(job.task(job.domains, job.train_folder(arm)), sets, config, validates ? validate : retrieval::Validate());
  boost::json::object figures{{"best_score", result.best_score},
                              {"best_epoch", result.best_epoch},
                              {"selected_by", result.selected_by},
                              {"steps_in_all", result.steps},
                              {"ranks", job.world.size()}};
  if (result.now.steps > 0) {
    figures["steps"] = result.now.steps;
    figures["seconds"] = result.now.step_seconds;
    figures["validation_seconds"] = result.now.validation_seconds;
    figures["images_per_step"] = result.images_per_step;
    figures["parameters"] = result.parameters;
    figures["batch_norm_layers"] = result.batch_norm_layers;
    figures["feature_dim"] = settings.train.encoder.dim;
  }
  return figures;
}

evaluation::Evaluation evaluate_encoder(Job& job, retrieval::Encoder encoder, const evaluation::EvaluationData& data,
                                        const evaluation::EvaluateConfig& config) {
  encoder->to(job.world.device());
  return evaluation::evaluate(job.world, encoder, data, config);
}

/// What the encoders reach that an arm's training has left.
void evaluate_trained(Job& job, const fs::path& folder, const std::string& split, evaluation::ArmResult& result) {
  const auto where = (folder / "done.json").string();
  const auto file = io::read_json(where);
  const auto& done = io::as_object(file, where);
  result.validation_score = io::json_double(done, "best_score", where);
  result.best_epoch = io::json_int(done, "best_epoch", where);
  result.selected_by = io::json_string(done, "selected_by", where);
  if (result.selected_by == "last") result.validation_score = std::numeric_limits<double>::quiet_NaN();
  result.log = folder / "log.jsonl";
  auto data = evaluation_data(job, split);
  if (retrieval::keeps_features(job.settings.train)) data.pooled = &job.pooled;
  result.evaluation = evaluate_encoder(job, retrieval::load_encoder(folder / "encoder.safetensors"), data, job.settings.evaluate);
  if (!done.contains("other_by")) return;
  result.other = {io::json_string(done, "other_by", where), io::json_int(done, "other_epoch", where), result.evaluation.mean};
  if (!done.contains("other_file")) return;
  evaluation::EvaluateConfig config = job.settings.evaluate;
  config.resamples = 0;
  config.mean_average_precision = false;
  config.further_cutoffs = config.recall = {};
  const auto name = io::json_string(done, "other_file", where);
  result.other->mean = evaluate_encoder(job, retrieval::load_encoder(folder / name), data, config).mean;
}

/// Evaluates an arm's best encoder on a split. The result is rank 0's.
evaluation::ArmResult evaluate_arm(Job& job, const Arm& arm, const std::string& split) {
  core::info("evaluate {}", arm.name);
  evaluation::ArmResult result;
  result.name = arm.name;
  result.title = title_of(job.settings, arm);
  result.sets = names_of(job.settings, arm);
  result.ceiling = arm.has("true");
  if (arm.trained()) {
    evaluate_trained(job, job.train_folder(arm), split, result);
    return result;
  }
  auto encoder = retrieval::untrained_encoder(job.settings.train.encoder, job.seed());
  encoder->to(job.world.device());
  auto data = evaluation_data(job, split);
  data.pooled = &job.pooled;
  data.centre = arm.plain->centre;
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  result.validation_score = without_validation(job) ? unknown : validation(job, encoder, {}, data.centre, data.pooled).labels;
  result.evaluation = evaluation::evaluate(job.world, encoder, data, job.settings.evaluate);
  return result;
}

}  // namespace

const std::vector<Phase>& phases() {
  static const std::vector<Phase> table{
      {.name = "fit",
       .tasks = fit_tasks,
       .marks = [](auto& job, auto& model) { return marks_in(named(fits(), model).folders(job), {"checkpoints", "done.json"}); },
       .check = check_fit,
       .run =
           [](auto& job, auto& model) {
             named(fits(), model).run(job);
             return boost::json::object();
           }},
      {.name = "translate", .tasks = translate_tasks, .marks = translate_marks, .check = check_translate, .run = run_translate},
      {.name = "train",
       .tasks = train_tasks,
       .marks = [](auto& job, auto& arm) { return marks_in({job.train_folder(Arm(arm))}, {"checkpoints", "done.json"}); },
       .check = check_train,
       .run = run_train},
      {.name = "run",
       .tasks =
           [](auto&, auto& arm) {
             return std::vector{PhaseTask{.needs = arm.trained() ? std::vector{task_name("train", arm.name)} : std::vector<std::string>()}};
           },
       .marks = [](auto& job, auto&) { return marks_in({job.out}, {"config.toml"}); },
       .check =
           [](auto& job, auto&) {
             check_writable(job, job.out, "run.out");
             check_evaluation(job, job.settings.evaluate.split());
           },
       .run = [](auto& job, auto&) { return evaluate_arms(job, job.settings.run.arms, job.settings.evaluate.split(), true); }},
  };
  return table;
}

std::vector<std::string> fit_names() {
  std::vector<std::string> names;
  for (const Fit& fit : fits()) names.push_back(fit.name);
  return names;
}

std::vector<PhaseTask> tasks_of(const Settings& settings) {
  std::vector<PhaseTask> tasks;
  for (const auto& text : settings.run.arms) {
    const Arm arm(text);
    for (const Phase& phase : phases())
      for (PhaseTask& task : phase.tasks(settings, arm)) {
        const auto found = std::find_if(tasks.begin(), tasks.end(), [&](auto& other) { return other.phase == &phase && other.subject == task.subject; });
        if (found != tasks.end()) {
          for (const auto& need : task.needs)
            if (std::find(found->needs.begin(), found->needs.end(), need) == found->needs.end()) found->needs.push_back(need);
          continue;
        }
        task.phase = &phase;
        task.name = task_name(phase.name, task.subject);
        tasks.push_back(std::move(task));
      }
  }
  // What is for all arms comes last.
  std::stable_partition(tasks.begin(), tasks.end(), [](const PhaseTask& task) { return !task.subject.empty(); });
  return tasks;
}

translate::TranslateConfig translation(const Job& job, const std::string& translator, const Job::Direction& direction) {
  const ArmPart part(translator);
  translate::TranslateConfig config = translation(job.settings, part);
  if (const Fit* fit = fit_for(*part.translator); fit && fit->given(config).empty()) fit->given(config) = fit->model(job, direction);
  if (!uses_fitted_tokens(job.settings, *part.translator)) return config;
  for (const auto& token : fit::tokens_of(job.settings.fit.textual_inversion, job.domains)) {
    const fs::path file = job.textual_inversion_folder() / token.domain / fit::learned_file;
    if (!fs::exists(file))
      throw core::DataError("{} is not there: `syncdr fit textual-inversion` makes it. Or set translate.diffusion.fitted_tokens = false", file.string());
    config.diffusion.tokens.push_back(file.string());
  }
  return config;
}

Job::Job(comm::World& world_, const Settings& settings_) : world(world_), settings(settings_), dataset(settings_.data.root), out(settings_.run.out) {
  domains = settings.data.domains.empty() ? dataset.manifest().domains : settings.data.domains;
  if (domains.size() < 2)
    throw core::DataError("{}: the dataset has one domain ({}). Retrieval across domains needs two or more: pack them into one dataset.",
                          dataset.root().string(), fmt::join(domains, ", "));
}

std::vector<Job::Direction> Job::directions() const {
  std::vector<Direction> all;
  for (const auto& source : domains)
    for (const auto& target : domains)
      if (source != target) all.push_back({source, target});
  return all;
}

void check_resume(const Job& job, const Phase& phase, const std::string& subject) {
  const std::string& mode = job.settings.resume;
  if (mode == "auto") return;
  const auto marks = phase.marks(job, subject);
  job.world.root_only("looking for what an earlier run has left", [&] {
    const auto found = std::find_if(marks.begin(), marks.end(), [](const auto& mark) { return fs::exists(mark); });
    if (mode == "never" && found != marks.end())
      throw core::UsageError("{} is there, and resume = \"never\". Choose another run.out, remove what is there, or go on from it with --resume auto",
                             found->string());
    if (mode == "require" && found == marks.end())
      throw core::UsageError("there is nothing to go on from ({} does not exist), and resume = \"require\". Is run.out right? --resume auto begins anew",
                             marks.front().string());
  });
}

boost::json::object measure_retention(Job& job, const std::vector<std::string>& arms) {
  std::vector<evaluation::SetRetention> all;
  for (const auto& name : arms)
    for (const auto& set : names_of(job.settings, Arm(name))) std::ranges::move(retention_of(job, set, pair_ranks_of(job, set)), std::back_inserter(all));
  if (all.empty()) throw core::UsageError("none of the arms {} has translations", fmt::join(arms, ", "));
  job.world.root_only("printing retention", [&] { fmt::print("{}", evaluation::retention_text(all)); });
  return {{"retention", evaluation::retention_json(all)}};
}

boost::json::object evaluate_arms(Job& job, const std::vector<std::string>& arms, const std::string& split, bool with_report) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<evaluation::ArmResult> results;
  std::vector<evaluation::FeatureMap> maps;
  decltype(evaluation::ReportInput::pair_ranks) ranks;
  for (const auto& arm : arms) {
    results.push_back(evaluate_arm(job, Arm(arm), split));
    if (!with_report) continue;
    for (const auto& set : results.back().sets) {
      const auto found = pair_ranks_of(job, set);
      std::ranges::move(retention_of(job, set, found), std::back_inserter(results.back().retention));
      for (const auto& direction : job.directions()) ranks[{set, direction.source, direction.target}] = found.at(direction.name());
    }
  }
  if (with_report) maps = feature_maps(job, results);
  boost::json::object metrics;
  job.world.root_only("writing the figures", [&] {
    auto input = report_input(job, std::move(results), split);
    input.maps = std::move(maps);
    input.pair_ranks = std::move(ranks);
    evaluation::compare_arms(input, job.seed(), job.settings.evaluate.resamples);
    metrics = evaluation::metrics_json(input, input.baseline, input.main);
    if (with_report) {
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      int64_t images = 0;
      for (const auto& domain : job.domains) images += std::ssize(arms) * job.dataset.real(domain, split).rows();
      io::write_json(calls_folder(job) / "evaluate.json", to_json(call_of(job, "evaluate", "", seconds, images)));
      input.calls = evaluation::read_calls(calls_folder(job));
      io::write_json(job.out / "metrics.json", metrics);
      evaluation::write_hits(job.out / "hits.json", input, images_of(job, split));
      evaluation::write_report(job.out / "report.html", job.dataset, input);
    }
    fmt::print("{}\n", evaluation::table_text(input));
    if (with_report) core::info("report: {}", (job.out / "report.html").string());
  });
  return metrics;
}

}  // namespace syncdr::app
