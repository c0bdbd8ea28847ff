#include "commands.h"
#include "syncdr/core/main.h"

int main(int argc, char** argv) {
  return syncdr::core::run_main([&] {
    using namespace syncdr::app;
    CLI::App program{"Cross-domain image retrieval trained with synthetic data.", "syncdr"};
    program.require_subcommand(1);
    program.set_version_flag("--version", SYNCDR_VERSION);
    Chosen chosen;
    add_run(program, chosen);
    add_fit(program, chosen);
    add_translate(program, chosen);
    add_train(program, chosen);
    add_evaluate(program, chosen);
    add_doctor(program, chosen);
    add_keys(program, chosen);
    try {
      program.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return program.exit(error) == 0 ? 0 : static_cast<int>(syncdr::core::ExitCode::usage);
    }
    return chosen.run();
  });
}
