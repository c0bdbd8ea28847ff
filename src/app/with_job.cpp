#include "with_job.h"

#include <optional>

#include "syncdr/core/log.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/json.h"

namespace syncdr::app {

int with_world(const CommonOptions& options, const std::function<boost::json::object(comm::World&, const Settings&)>& work, const std::string& stop_signal) {
  Settings settings;
  std::optional<core::UsageError> refused;
  try {
    settings = read_settings(options.config, options.sets);
    core::watch_stop_signals(stop_signal.empty() ? settings.stop_signal : stop_signal);
  } catch (const core::UsageError& error) {
    refused = error;
  }
  if (options.print_config && !refused) {
    fmt::print("{}", core::write_config(core::visit_of(settings)));
    return 0;
  }
  return comm::run_job(refused ? comm::CommConfig{} : settings.comm, [&](comm::World& world) {
    if (refused) {  // all ranks have read the same file: they end together, and one of them speaks
      if (world.is_root()) core::error("{}", refused->what());
      return refused->code();
    }
    const auto figures = work(world, settings);
    if (!options.json.empty()) world.root_only("writing figures", [&] { io::write_json(options.json, figures); });
    return core::ExitCode::done;
  });
}

int with_job(const CommonOptions& options, const std::function<boost::json::object(Job&)>& work) {
  return with_world(options, [&](comm::World& world, const Settings& settings) {
    Job job(world, settings);
    return work(job);
  });
}

}  // namespace syncdr::app
