#include <set>

#include "commands.h"
#include "phases.h"
#include "with_world.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"

namespace syncdr::app {
namespace {

/// The run folder remembers its configuration: another one must not mix its results with it.
void claim_folder(Job& job) {
  // Where it runs, on how many ranks, and how it waits may change between calls; of how long trainings are, their own folders know whether it may.
  static const std::set<std::string> free{"resume", "stop_signal", "translate.claim_timeout", "translate.patience", "translate.codec_threads",
                                          "train.loader_threads", "train.epochs", "train.images", "fit.cut.steps", "fit.diffusion.steps",
                                          "fit.diffusion.autoencoder.steps"};
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
    io::write_file(file, core::write_config(core::visit_of(now)));
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
