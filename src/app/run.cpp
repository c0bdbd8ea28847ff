#include <set>

#include "commands.h"
#include "phases.h"
#include "with_world.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::app {
namespace {

/// The run folder remembers its configuration: another one must not mix its results with it.
void claim_folder(Job& job) {
  Settings copy = job.settings;
  // Where it runs, on how many ranks, and how it waits may change between calls.
  copy.comm = {};
  const Settings defaults;
  copy.resume = defaults.resume;
  copy.stop_signal = defaults.stop_signal;
  copy.translate.claim_timeout = defaults.translate.claim_timeout;
  copy.translate.patience = defaults.translate.patience;
  copy.translate.codec_threads = defaults.translate.codec_threads;
  copy.train.loader_threads = defaults.train.loader_threads;
  const std::string configuration = core::write_config(core::visit_of(copy));
  job.world.root_only("claiming the run folder", [&] {
    const auto file = job.out / "config.toml";
    if (std::filesystem::exists(file) && io::read_file(file) != configuration)
      throw core::UsageError("{} was made with another configuration (compare config.toml there with --print-config). Choose another run.out, or remove the folder.",
                             job.out.string());
    io::write_file(file, configuration);
  });
}

boost::json::object run(comm::World& world, const Settings& settings) {
  Job job(world, settings);
  check_resume(job, {job.out / "config.toml"});
  claim_folder(job);
  boost::json::object figures;
  std::set<std::string> translated;
  for (const auto& name : settings.run.arms) {
    const Arm arm(name);
    if (!arm.is_translator() || !translated.insert(arm.base).second) continue;
    fit_phase(job, arm.base);
    figures["translate " + arm.base] = translate_phase(job, arm.base);
  }
  for (const auto& arm : settings.run.arms) figures["train " + arm] = train_phase(job, Arm(arm));

  std::vector<evaluation::Arm> arms;
  for (const auto& arm : settings.run.arms) arms.push_back(evaluate_phase(job, Arm(arm), "test"));
  world.root_only("writing the report", [&] {
    const auto input = report_input(job, std::move(arms), "test");
    const auto metrics = evaluation::metrics_json(input, input.baseline, input.main);
    io::write_json(job.out / "metrics.json", metrics);
    evaluation::write_report(job.out / "report.html", job.dataset, input);
    fmt::print("{}\n", evaluation::table_text(input));
    core::info("report: {}", (job.out / "report.html").string());
    figures["metrics"] = metrics;
  });
  return figures;
}

}  // namespace

int run_command(const CommonOptions& options) { return with_world(options, run); }

}  // namespace syncdr::app
