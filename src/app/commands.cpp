#include "commands.h"

#include <optional>

#include "syncdr/core/log.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/json.h"

namespace syncdr::app {

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("config", options.config, "configuration file (TOML); `syncdr keys` lists its keys")->required();
  command.add_option("--set", options.sets, "set one key, as in --set train.epochs=5 (may be repeated)")->allow_extra_args(false);
  command.add_option("--json", options.json, "write the figures of this command to a file");
  command.add_flag("--print-config", options.print_config, "print the resolved configuration and stop");
}

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
  if (refused) {  // all ranks have read the same file: they end together, and one of them speaks
    if (world->is_root()) core::error("{}", refused->what());
    return static_cast<int>(world->finish(refused->code()));
  }
  try {
    const auto figures = work(*world, settings);
    if (!options.json.empty()) world->root_only("writing figures", [&] { io::write_json(options.json, figures); });
    return static_cast<int>(world->finish(core::ExitCode::done));
  } catch (const core::StopRequested& stop) {  // ranks agree on a stop before they throw
    if (world->is_root()) core::warn("{}", stop.what());
    return static_cast<int>(world->finish(stop.code()));
  } catch (const core::Error& error) {
    world->fail(error.code(), error.what());
  } catch (const std::exception& error) {
    world->fail(core::ExitCode::bug, fmt::format("unexpected: {}. This is a bug in syncdr; please report it with this text.", error.what()));
  }
}

}  // namespace syncdr::app
