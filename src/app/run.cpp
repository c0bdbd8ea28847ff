#include "commands.h"
#include "phases.h"
#include "with_world.h"
#include "syncdr/io/atomic_file.h"

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
