#include "commands.h"

#include <optional>

#include "phases.h"
#include "with_world.h"
#include "syncdr/core/log.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/json.h"

namespace syncdr::app {
namespace {

/// The command of a phase, for one subject.
int phase_command(const CommonOptions& options, const std::string& name, const std::function<std::string(const Settings&)>& subject) {
  return with_world(options, [&](comm::World& world, const Settings& settings) {
    Job job(world, settings);
    const Phase& phase = named(phases(), name);
    const std::string chosen = subject(settings);
    check_resume(job, phase, chosen);
    return phase.run(job, chosen);
  });
}

}  // namespace

int with_world(const CommonOptions& options, const std::function<boost::json::object(comm::World&, const Settings&)>& work) {
  Settings settings;
  std::optional<core::UsageError> refused;
  try {
    settings = read_settings(options.config, options.sets);
    core::watch_stop_signals(settings.stop_signal);
  } catch (const core::UsageError& error) {
    refused = error;
  }
  if (options.print_config && !refused) {
    fmt::print("{}", core::write_config(core::visit_of(settings)));
    return 0;
  }
  std::optional<comm::World> world;
  world.emplace(refused ? comm::CommConfig{} : settings.comm);
  const auto finish = [&](core::ExitCode code) {
    try {
      return static_cast<int>(world->finish(code));
    } catch (const core::Error& error) {  // a peer has died on the way out
      world->fail(error.code(), error.what());
    }
  };
  if (refused) {  // all ranks have read the same file: they end together, and one of them speaks
    if (world->is_root()) core::error("{}", refused->what());
    return finish(refused->code());
  }
  auto code = core::ExitCode::done;
  try {
    const auto figures = work(*world, settings);
    if (!options.json.empty()) world->root_only("writing figures", [&] { io::write_json(options.json, figures); });
  } catch (const core::StopRequested& stop) {  // ranks agree on a stop before they throw
    if (world->is_root()) core::warn("{}", stop.what());
    code = stop.code();
  } catch (const core::Error& error) {
    world->fail(error.code(), error.what());
  } catch (const std::exception& error) {
    world->fail(core::ExitCode::bug, fmt::format("unexpected: {}. This is a bug in syncdr; please report it with this text.", error.what()));
  }
  return finish(code);
}

int fit_command(const CommonOptions& options, const std::string& model) {
  return phase_command(options, "fit", [&](const Settings&) { return model; });
}

int translate_command(const CommonOptions& options) {
  return phase_command(options, "translate", [](const Settings& settings) { return settings.translate.translator; });
}

int train_command(const CommonOptions& options, const std::string& arm) {
  return phase_command(options, "train", [&](const Settings& settings) { return arm.empty() ? settings.run.main : arm; });
}

int evaluate_command(const CommonOptions& options, const std::vector<std::string>& arms, const std::string& split) {
  return with_world(options, [&](comm::World& world, const Settings& settings) {
    Job job(world, settings);
    std::vector<evaluation::ArmResult> results;
    for (const auto& arm : arms.empty() ? settings.run.arms : arms) results.push_back(evaluate_arm(job, Arm(arm), split));
    boost::json::object figures;
    world.root_only("printing figures", [&] {
      const auto input = report_input(job, std::move(results), split);
      fmt::print("{}\n", evaluation::table_text(input));
      figures = evaluation::metrics_json(input, input.baseline, input.main);
    });
    return figures;
  });
}

int keys_command() {
  Settings settings;
  fmt::print("{}", core::describe_config(core::visit_of(settings)));
  return 0;
}

}  // namespace syncdr::app
