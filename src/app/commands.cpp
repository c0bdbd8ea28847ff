#include "commands.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <set>

#include "calls.h"
#include "checks.h"
#include "compare.h"
#include "phases.h"
#include "sweep.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"
#include "syncdr/io/utf8.h"
#include "with_job.h"

namespace syncdr::app {
namespace {

constexpr std::string_view started_in = "# Relative paths are those of the folder in which the run was started: ";

/// The first line of a run's configuration; empty where no TOML could hold it.
std::string where_started() {
  const std::string folder = std::filesystem::current_path().string();
  const bool plain = std::none_of(folder.begin(), folder.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; });
  return plain && io::is_utf8(folder) ? fmt::format("{}{}\n", started_in, folder) : "";
}

/// Goes to the folder in which a run was started, if its configuration names one that is there.
void go_where_started(const std::filesystem::path& configuration) {
  const std::string text = io::read_file(configuration);
  if (!text.starts_with(started_in)) return;
  const std::filesystem::path folder = text.substr(started_in.size(), text.find('\n') - started_in.size());
  std::error_code ignored;  // it may be somebody's own: then the paths must do without
  if (std::filesystem::is_directory(folder, ignored)) std::filesystem::current_path(folder, ignored);
}

/// The run folder remembers its configuration: another one must not mix its results with it.
void claim_folder(Job& job) {
  // Where it runs, on how many ranks, how it waits, and which arm the page begins with may change between calls; of how long trainings are, their own
  // folders know whether it may.
  static const std::set<std::string> free{"resume",
                                          "run.main",
                                          "stop_signal",
                                          "translate.claim_timeout",
                                          "translate.patience",
                                          "translate.codec_threads",
                                          "train.loader_threads",
                                          "train.epochs",
                                          "train.images",
                                          "fit.cut.steps",
                                          "fit.diffusion.steps",
                                          "fit.diffusion.autoencoder.steps",
                                          "fit.elite_mapper.steps",
                                          "fit.textual_inversion.steps"};
  const auto lasting = [](Settings& settings) {
    io::Identity identity = io::identity_of(core::visit_of(settings), "");
    std::erase_if(identity, [](const auto& item) { return item.first.starts_with("comm.") || free.contains(item.first); });
    return identity;
  };
  job.world.root_only("claiming the run folder", [&] {
    const auto file = job.out / "config.toml";
    Settings now = job.settings, then;
    if (std::filesystem::exists(file)) {
      core::read_config(core::visit_of(then), file, {});
      io::expect_same(lasting(then), lasting(now), file);
    }
    io::write_file(file, where_started() + core::write_config(core::visit_of(now)));
  });
}

boost::json::object run(Job& job) {
  check_resume(job, named(phases(), "run"), "");
  const auto tasks = tasks_of(job.settings);
  for (const Phase& phase : phases()) {
    std::vector<std::string> subjects;
    for (const PhaseTask& task : tasks)
      if (task.phase == &phase) subjects.push_back(task.subject);
    if (phase.check && !subjects.empty()) phase.check(job, subjects);
  }
  claim_folder(job);
  boost::json::object figures;
  for (const Phase& phase : phases())
    for (const PhaseTask& task : tasks) {
      if (task.phase != &phase) continue;
      auto result = run_noted(job, phase, task.subject);
      if (!result.empty()) figures[task.subject.empty() ? "metrics" : phase.name + " " + task.subject] = std::move(result);
    }
  return figures;
}

/// What stands behind the name of a task's command.
std::vector<std::string> arguments_of(const PhaseTask& task, const CommonOptions& options) {
  std::vector<std::string> arguments = task.first;
  arguments.push_back(options.config);
  for (const auto& setting : options.sets) arguments.insert(arguments.end(), {"--set", setting});
  arguments.insert(arguments.end(), task.last.begin(), task.last.end());  // of settings the last one counts
  return arguments;
}

/// Throws UsageError if a line of `syncdr jobs` cannot hold these fields; the first is the job's name.
void check_fields(const std::vector<std::string>& fields) {
  for (const auto& field : fields)
    if (field.find_first_of("\t\n") != std::string::npos)
      throw core::UsageError("\"{}\" holds a tab or the end of a line: a job cannot take it as an argument. Write it into the configuration file", field);
  if (fields[0].find(',') != std::string::npos) throw core::UsageError("a job cannot be called \"{}\": rename the translated set, without a comma", fields[0]);
}

}  // namespace

int run_command(const CommonOptions& options) { return with_job(options, run); }

int jobs_command(const CommonOptions& options) {
  const Settings settings = read_settings(options.config, options.sets);
  std::string lines;
  boost::json::array jobs;
  for (const PhaseTask& task : tasks_of(settings)) {
    const auto arguments = arguments_of(task, options);
    std::vector<std::string> fields{task.name, task.phase->name, task.needs.empty() ? "-" : fmt::format("{}", fmt::join(task.needs, ",")),
                                    task.most_ranks > 0 ? std::to_string(task.most_ranks) : "-", settings.run.out};
    fields.insert(fields.end(), arguments.begin(), arguments.end());
    check_fields(fields);
    lines += fmt::format("{}\n", fmt::join(fields, "\t"));
    jobs.emplace_back(boost::json::object{{"name", task.name},
                                          {"phase", task.phase->name},
                                          {"needs", boost::json::array(task.needs.begin(), task.needs.end())},
                                          {"ranks", task.most_ranks > 0 ? boost::json::value(task.most_ranks) : nullptr},
                                          {"out", settings.run.out},
                                          {"arguments", boost::json::array(arguments.begin(), arguments.end())}});
  }
  if (!options.json.empty()) io::write_json(options.json, jobs);
  fmt::print("{}", lines);
  return 0;
}

int phase_command(const CommonOptions& options, const std::string& name, const std::string& subject) {
  return with_job(options, [&](Job& job) {
    const Phase& phase = named(phases(), name);
    const std::string chosen = !subject.empty() ? subject : name == "translate" ? job.settings.translate.translator : main_arm(job.settings);
    check_resume(job, phase, chosen);
    if (phase.check) phase.check(job, {chosen});
    return run_noted(job, phase, chosen);
  });
}

int sweep_command(const CommonOptions& options, const std::string& sweep) {
  return with_job(options, [&](Job& job) { return translate_sweep(job, options, Sweep(sweep)); });
}

int evaluate_command(const CommonOptions& options, const std::vector<std::string>& arms, const std::string& split) {
  return with_job(options, [&](Job& job) {
    const auto& evaluate = job.settings.evaluate;
    if (evaluate.protocol == "ucdir" && !split.empty())
      throw core::UsageError("--split {}: evaluate.protocol = \"ucdir\" measures on the training images. Leave one of them out", split);
    const std::string chosen = split.empty() ? evaluate.split() : split;
    const auto& asked = arms.empty() ? job.settings.run.arms : arms;
    check_evaluation(job, chosen);
    check_trained(job, asked);
    return evaluate_arms(job, asked, chosen, false);
  });
}

int retention_command(const CommonOptions& options, const std::vector<std::string>& arms) {
  return with_job(options, [&](Job& job) { return measure_retention(job, arms.empty() ? job.settings.run.arms : arms); });
}

int report_command(const std::vector<std::string>& runs, const std::string& page, const std::string& json) {
  if (runs.size() > 1) return compare_runs(runs, page.empty() ? "comparison.html" : page, json);
  if (!page.empty()) throw core::UsageError("--out names the page of a comparison; the report of a single run is report.html in its folder");
  check_run_folder(runs.front());
  const auto folder = std::filesystem::canonical(runs.front());  // begins with a slash: --set never takes it for a number or a date
  const std::string figures = json.empty() ? "" : std::filesystem::absolute(json).string();
  go_where_started(folder / "config.toml");
  return with_job({.config = folder / "config.toml", .sets = {"run.out=" + folder.string()}, .json = figures}, [](Job& job) {
    check_trained(job, job.settings.run.arms);
    return evaluate_arms(job, job.settings.run.arms, job.settings.evaluate.split(), true);
  });
}

int keys_command() {
  Settings settings;
  fmt::print("{}", core::describe_config(core::visit_of(settings)));
  return 0;
}

}  // namespace syncdr::app
