#include "commands.h"

namespace syncdr::app {

void add_keys(CLI::App& program, Chosen& chosen) {
  auto* command = program.add_subcommand("keys", "list every configuration key with its meaning, range and default");
  command->callback([&chosen] {
    chosen.run = [] {
      Settings settings;
      fmt::print("{}", core::describe_config(core::visit_of(settings)));
      return 0;
    };
  });
}

}  // namespace syncdr::app
