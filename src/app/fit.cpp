#include "commands.h"
#include "phases.h"

namespace syncdr::app {

void add_fit(CLI::App& program, Chosen& chosen) {
  auto* command = program.add_subcommand("fit", "train a translator on the two domains, both directions");
  auto options = std::make_shared<CommonOptions>();
  auto translator = std::make_shared<std::string>();
  command->add_option("translator", *translator, "cut")->required()->check(CLI::IsMember({"cut"}));
  add_common_options(*command, *options);
  command->callback([&chosen, options, translator] {
    chosen.run = [options, translator] {
      return with_world(*options, [&](comm::World& world, const Settings& settings) {
        Job job(world, settings);
        return fit_phase(job, *translator);
      });
    };
  });
}

}  // namespace syncdr::app
