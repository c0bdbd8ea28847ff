#include "commands.h"
#include "phases.h"

namespace syncdr::app {

void add_train(CLI::App& program, Chosen& chosen) {
  auto* command = program.add_subcommand("train", "train the retrieval model of one arm");
  auto options = std::make_shared<CommonOptions>();
  auto arm = std::make_shared<std::string>();
  add_common_options(*command, *options);
  command->add_option("--arm", *arm, "cds, a translator, or the name of a translated set; without it: run.main");
  command->callback([&chosen, options, arm] {
    chosen.run = [options, arm] {
      return with_world(*options, [&](comm::World& world, const Settings& settings) {
        Job job(world, settings);
        return train_phase(job, arm->empty() ? settings.run.main : *arm);
      });
    };
  });
}

}  // namespace syncdr::app
