#include <set>

#include "commands.h"
#include "phases.h"
#include "with_world.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/identity.h"

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
  check_resume(job, named(phases(), "run"), "");
  claim_folder(job);
  boost::json::object figures;
  const auto tasks = tasks_of(settings);
  for (const Phase& phase : phases())
    for (const Task& task : tasks) {
      if (task.phase != &phase) continue;
      auto result = phase.run(job, task.subject);
      if (!result.empty()) figures[task.subject.empty() ? "metrics" : phase.name + " " + task.subject] = std::move(result);
    }
  return figures;
}

}  // namespace

int run_command(const CommonOptions& options) { return with_world(options, run); }

}  // namespace syncdr::app
