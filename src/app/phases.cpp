#include "phases.h"

#include <algorithm>
#include <map>

#include "commands.h"
#include "syncdr/core/log.h"
#include "syncdr/evaluation/report.h"
#include "syncdr/io/json.h"
#include "syncdr/retrieval/encoder.h"
#include "syncdr/translate/engine.h"

namespace syncdr::app {
namespace {

namespace fs = std::filesystem;

constexpr int64_t score_cutoff = 1;  // the best epoch is the one with the highest mean validation Prec@1 (method)

/// The translated set an arm trains on: "" for cds; a translator's is named after the run folder, so that runs do not mix; otherwise the arm itself.
std::string set_of(const Settings& settings, const Arm& arm) {
  if (arm.base == "cds") return "";
  if (!arm.translator) return arm.base;
  if (arm.base == settings.translate.translator && !settings.translate.run.empty()) return settings.translate.run;
  return fs::path(settings.run.out).filename().string() + "-" + arm.base;
}

std::string title_of(const Settings& settings, const Arm& arm) {
  if (arm.base == "cds") return "CDS (real images alone)";
  std::string title = "SynCDR, ";
  if (arm.translator) title += arm.translator->title;
  else title += arm.base == "true" ? "true counterparts (ceiling)" : arm.base;
  if (arm.variants == 0 && !(arm.translator && arm.translator->random)) return title;
  const int64_t variants = arm.variants > 0 ? arm.variants : settings.translate.variants;
  return fmt::format("{}, {} variant{}", title, variants, variants == 1 ? "" : "s");
}

std::vector<fs::path> marks_in(const std::vector<fs::path>& folders, const std::vector<std::string>& names) {
  std::vector<fs::path> marks;
  for (const auto& folder : folders)
    for (const auto& name : names) marks.push_back(folder / name);
  return marks;
}

/// What can be fitted, by the names that the table of translators uses.
struct Fit {
  std::string name;
  std::string& (*given)(translate::TranslateConfig& config);              ///< the setting that names a model which is there already
  int64_t (*most_ranks)(const FitSettings& settings);                     ///< the smallest global batch
  std::vector<fs::path> (*folders)(const Job& job);                       ///< of its trainings
  std::string (*model)(const Job& job, const Job::Direction& direction);  ///< what it leaves; empty: it has not begun
  void (*run)(Job& job);
};

const std::vector<Fit>& fits() {
  static const std::vector<Fit> table{
      {.name = "cut",
       .given = [](auto& config) -> std::string& { return config.cut.weights; },
       .most_ranks = [](auto& settings) { return settings.cut.batch; },
       .folders = [](auto& job) { return std::vector{job.cut_folder(job.directions()[0]), job.cut_folder(job.directions()[1])}; },
       .model = [](auto& job, auto& direction) { return (job.cut_folder(direction) / "generator.safetensors").string(); },
       .run =
           [](Job& job) {
             for (const auto& direction : job.directions()) fit::fit_cut(job.task(direction, job.cut_folder(direction)), job.settings.fit.cut);
           }},
      {.name = "diffusion",
       .given = [](auto& config) -> std::string& { return config.diffusion.checkpoint; },
       .most_ranks =
           [](auto& settings) {
             const auto& config = settings.diffusion;
             return config.from.empty() ? std::min(config.batch, config.autoencoder.batch) : config.batch;
           },
       .folders = [](auto& job) { return std::vector{job.diffusion_folder(), job.diffusion_folder() / "autoencoder"}; },
       .model = [](auto& job, auto&) { return fs::exists(job.diffusion_folder()) ? (job.diffusion_folder() / "checkpoint").string() : ""; },
       .run = [](Job& job) { fit::fit_diffusion(job.task(job.directions()[0], job.diffusion_folder()), job.settings.fit.diffusion); }},
  };
  return table;
}

/// Null: the translator needs none.
const Fit* fit_for(const translate::TranslatorRow& translator) { return translator.model.empty() ? nullptr : &named(fits(), translator.model); }

std::optional<PhaseTask> fit_task(const Settings& settings, const Arm& arm) {
  const Fit* fit = arm.translator ? fit_for(*arm.translator) : nullptr;
  translate::TranslateConfig config = settings.translate;
  if (!fit || !fit->given(config).empty()) return {};
  return PhaseTask{.subject = fit->name, .most_ranks = fit->most_ranks(settings.fit), .first = {fit->name}};
}

/// How a translator is applied. One setting of variants serves all translators of a job: those beside translate.translator that draw nothing have one.
translate::TranslateConfig translation(const Settings& settings, const Arm& arm) {
  translate::TranslateConfig config = settings.translate;
  config.translator = arm.base;
  config.run = set_of(settings, arm);
  if (!arm.translator->random && arm.base != settings.translate.translator) config.variants = 1;
  return config;
}

std::optional<PhaseTask> translate_task(const Settings& settings, const Arm& arm) {
  if (!arm.translator) return {};
  const translate::TranslateConfig config = translation(settings, arm);
  translate::check_prompts_set(config);
  PhaseTask task{.subject = arm.base};
  if (arm.base == settings.translate.translator) return task;
  task.last = {"--set", "translate.translator=" + config.translator, "--set", "translate.run=" + config.run};
  if (config.variants != settings.translate.variants) task.last.insert(task.last.end(), {"--set", fmt::format("translate.variants={}", config.variants)});
  return task;
}

std::vector<fs::path> translate_marks(const Job& job, const std::string& translator) {
  std::vector<fs::path> folders;
  for (const auto& [source, target] : job.directions()) folders.push_back(job.dataset.synthetic_folder(source, target, set_of(job.settings, Arm(translator))));
  return marks_in(folders, {"run.json"});
}

void check_translate(const Job& job, const std::string& translator) {
  for (const auto& [source, target] : job.directions())
    translate::check_texts({job.dataset, source, target, "train"}, translation(job.settings, Arm(translator)));
}

/// Translates both domains' training images.
boost::json::object run_translate(Job& job, const std::string& translator) {
  const Arm arm(translator);
  const Fit* fit = fit_for(*arm.translator);
  boost::json::object figures;
  for (const auto& direction : job.directions()) {
    translate::TranslateConfig config = translation(job.settings, arm);
    if (fit && fit->given(config).empty()) fit->given(config) = fit->model(job, direction);
    const auto made = translate::make_translator(config, direction.source, direction.target, job.world.device());
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
  return {job.dataset, job.domain_a, job.domain_b, split, job.settings.train.augment, job.seed()};
}

void check_train(const Job& job, const std::string& /*arm*/) {
  const auto& train = job.settings.train;
  retrieval::check_side(train.encoder, train.augment.crop);
}

/// Trains the retrieval model of one arm.
boost::json::object run_train(Job& job, const std::string& name) {
  const Arm arm(name);
  const auto& settings = job.settings;
  retrieval::TrainConfig config = settings.train;
  if (arm.variants > 0) config.variants = arm.variants;
  const auto validate = [&](retrieval::Encoder& encoder) {
    evaluation::EvaluateConfig score = settings.evaluate;
    score.cutoffs = {score_cutoff};
    score.resamples = 100;  // the interval is not looked at
    score.mean_average_precision = false;
    const auto result = evaluation::evaluate(job.world, encoder, evaluation_data(job, "val"), score);
    return job.world.is_root() ? result.mean_precision(score_cutoff) : 0.0;
  };
  core::info("train {}: {}", arm.name, title_of(settings, arm));
  if (const std::string remark = retrieval::check_side(config.encoder, config.augment.crop); !remark.empty()) core::info("{}", remark);
  const auto result = retrieval::train(job.task(job.directions()[0], job.train_folder(arm)), set_of(settings, arm), config, validate);
  boost::json::object figures{
      {"best_score", result.best_score}, {"best_epoch", result.best_epoch}, {"steps_in_all", result.steps}, {"ranks", job.world.size()}};
  if (result.now.steps > 0) {
    figures["steps"] = result.now.steps;
    figures["seconds"] = result.now.step_seconds;
    figures["validation_seconds"] = result.now.validation_seconds;
    figures["images_per_step"] = result.images_per_step;
    figures["parameters"] = result.parameters;
    figures["feature_dim"] = config.encoder.dim;
  }
  return figures;
}

/// Evaluates an arm's best encoder on a split. The result is rank 0's.
evaluation::ArmResult evaluate_arm(Job& job, const Arm& arm, const std::string& split) {
  const auto folder = job.train_folder(arm);
  const auto done = io::read_json(folder / "done.json");
  const auto where = (folder / "done.json").string();
  evaluation::ArmResult result;
  result.name = arm.name;
  result.title = title_of(job.settings, arm);
  result.run = set_of(job.settings, arm);
  result.ceiling = arm.base == "true";
  result.validation_score = io::json_double(io::as_object(done, where), "best_score", where);
  result.best_epoch = io::json_int(io::as_object(done, where), "best_epoch", where);
  result.log = folder / "log.jsonl";
  result.evaluation = evaluation::evaluate(job.world, folder / "encoder.safetensors", evaluation_data(job, split), job.settings.evaluate);
  return result;
}

/// What the report shows besides the arms: title, domains, curves of translators, configuration.
evaluation::ReportInput report_input(const Job& job, std::vector<evaluation::ArmResult> arms, const std::string& split) {
  evaluation::ReportInput input;
  input.title = job.settings.run.title;
  input.domain_a = job.domain_a;
  input.domain_b = job.domain_b;
  input.split = split;
  input.baseline = "cds";
  input.main = job.settings.run.main;
  input.arms = std::move(arms);
  for (const auto& direction : job.directions()) {
    const auto log = job.cut_folder(direction) / "log.jsonl";
    if (fs::exists(log)) input.curves.emplace_back("CUT, " + direction.name(), log);
  }
  if (const auto log = job.diffusion_folder() / "log.jsonl"; fs::exists(log)) input.curves.emplace_back("diffusion", log);
  Settings copy = job.settings;
  input.configuration = core::write_config(core::visit_of(copy));
  return input;
}

}  // namespace

const std::vector<Phase>& phases() {
  static const std::vector<Phase> table{
      {.name = "fit",
       .needs = "",
       .task = fit_task,
       .marks = [](auto& job, auto& model) { return marks_in(named(fits(), model).folders(job), {"checkpoints", "done.json"}); },
       .run =
           [](auto& job, auto& model) {
             named(fits(), model).run(job);
             return boost::json::object();
           }},
      {.name = "translate", .needs = "fit", .task = translate_task, .marks = translate_marks, .check = check_translate, .run = run_translate},
      {.name = "train",
       .needs = "translate",
       .task = [](auto& settings,
                  auto& arm) { return std::optional(PhaseTask{.subject = arm.name, .most_ranks = settings.train.batch, .last = {"--arm", arm.name}}); },
       .marks = [](auto& job, auto& arm) { return marks_in({job.train_folder(Arm(arm))}, {"checkpoints", "done.json"}); },
       .check = check_train,
       .run = run_train},
      {.name = "run",
       .needs = "train",
       .task = [](auto&, auto&) { return std::optional(PhaseTask{}); },
       .marks = [](auto& job, auto&) { return marks_in({job.out}, {"config.toml"}); },
       .run = [](auto& job, auto&) { return evaluate_arms(job, job.settings.run.arms, "test", true); }},
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
    std::map<std::string, std::string> mine;  // phase -> this arm's task
    for (const Phase& phase : phases()) {
      auto task = phase.task(settings, arm);
      if (!task) continue;
      auto found = std::find_if(tasks.begin(), tasks.end(), [&](const PhaseTask& other) { return other.phase == &phase && other.subject == task->subject; });
      if (found == tasks.end()) {
        task->phase = &phase;
        task->name = task->subject.empty() ? phase.name : phase.name + "-" + Arm(task->subject).folder();
        found = tasks.insert(tasks.end(), std::move(*task));
      }
      mine[phase.name] = found->name;
      const auto need = mine.find(phase.needs);
      if (need != mine.end() && std::find(found->needs.begin(), found->needs.end(), need->second) == found->needs.end()) found->needs.push_back(need->second);
    }
  }
  // What is for all arms comes last.
  std::stable_partition(tasks.begin(), tasks.end(), [](const PhaseTask& task) { return !task.subject.empty(); });
  return tasks;
}

Job::Job(comm::World& world_, const Settings& settings_) : world(world_), settings(settings_), dataset(settings_.data.root), out(settings_.run.out) {
  std::vector<std::string> domains = settings.data.domains.empty() ? dataset.manifest().domains : settings.data.domains;
  if (domains.size() != 2)
    throw core::UsageError("{}: the dataset has {} domains ({}). Choose two: data.domains = [\"...\", \"...\"].", dataset.root().string(), domains.size(),
                           fmt::join(domains, ", "));
  domain_a = domains[0];
  domain_b = domains[1];
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

boost::json::object evaluate_arms(Job& job, const std::vector<std::string>& arms, const std::string& split, bool with_report) {
  std::vector<evaluation::ArmResult> results;
  for (const auto& arm : arms) results.push_back(evaluate_arm(job, Arm(arm), split));
  boost::json::object metrics;
  job.world.root_only("writing the figures", [&] {
    const auto input = report_input(job, std::move(results), split);
    metrics = evaluation::metrics_json(input, input.baseline, input.main);
    if (with_report) {
      io::write_json(job.out / "metrics.json", metrics);
      evaluation::write_report(job.out / "report.html", job.dataset, input);
    }
    fmt::print("{}\n", evaluation::table_text(input));
    if (with_report) core::info("report: {}", (job.out / "report.html").string());
  });
  return metrics;
}

}  // namespace syncdr::app
