#include "commands.h"
#include "phases.h"

namespace syncdr::app {

void add_translate(CLI::App& program, Chosen& chosen) {
  auto* command = program.add_subcommand("translate", "translate the training images of both domains with translate.translator");
  auto options = std::make_shared<CommonOptions>();
  add_common_options(*command, *options);
  command->callback([&chosen, options] {
    chosen.run = [options] {
      return with_world(*options, [](comm::World& world, const Settings& settings) {
        Job job(world, settings);
        return translate_phase(job, settings.translate.translator);
      });
    };
  });
}

}  // namespace syncdr::app
