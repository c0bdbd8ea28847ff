#include "commands.h"
#include "phases.h"
#include "syncdr/io/json.h"

namespace syncdr::app {

void add_evaluate(CLI::App& program, Chosen& chosen) {
  auto* command = program.add_subcommand("evaluate", "measure trained arms: a table, and the figures with --json");
  auto options = std::make_shared<CommonOptions>();
  auto arms = std::make_shared<std::vector<std::string>>();
  auto split = std::make_shared<std::string>("test");
  add_common_options(*command, *options);
  command->add_option("--arm", *arms, "an arm (may be repeated); without it: all of run.arms")->allow_extra_args(false);
  command->add_option("--split", *split, "which images: test or val")->check(CLI::IsMember({"test", "val"}));
  command->callback([&chosen, options, arms, split] {
    chosen.run = [options, arms, split] {
      return with_world(*options, [&](comm::World& world, const Settings& settings) {
        Job job(world, settings);
        std::vector<evaluation::Arm> results;
        for (const auto& arm : arms->empty() ? settings.run.arms : *arms) results.push_back(evaluate_phase(job, arm, *split));
        boost::json::object figures;
        world.root_only("printing figures", [&] {
          const auto input = report_input(job, std::move(results), *split);
          fmt::print("{}\n", evaluation::table_text(input));
          figures = evaluation::metrics_json(input, input.baseline, input.main);
        });
        return figures;
      });
    };
  });
}

}  // namespace syncdr::app
