#include <CLI/CLI.hpp>

#include "commands.h"
#include "syncdr/core/error.h"
#include "syncdr/core/main.h"

using namespace syncdr;

int main(int argc, char** argv) {
  return core::run_main([&] {
    CLI::App app("syncdr-data: prepares, inspects and checks the datasets of syncdr", "syncdr-data");
    app.require_subcommand(1);
    app.option_defaults()->always_capture_default();
    data_tools::add_pack(app);
    data_tools::add_inspect(app);
    data_tools::add_verify(app);
    data_tools::add_emoji(app);
    data_tools::add_export(app);
    try {
      app.parse(argc, argv);  // runs the chosen command's callback
    } catch (const CLI::ParseError& error) {
      // exit() prints help or the complaint; its own codes are CLI11's, ours are two: asked for help, or wrong usage.
      return static_cast<int>(app.exit(error) == 0 ? core::ExitCode::done : core::ExitCode::usage);
    }
    return 0;
  });
}
