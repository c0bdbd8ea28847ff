#include <c10/util/Exception.h>
#include <malloc.h>

#include "commands.h"
#include "syncdr/core/log.h"
#include "syncdr/core/main.h"

namespace {

/// LibTorch's warnings speak of its own inner workings; a user sees them only when looking for them.
struct QuietWarnings : c10::WarningHandler {
  void process(const c10::Warning& warning) override { syncdr::core::debug("LibTorch: {}", warning.msg()); }
};

/// Training frees and allocates the same large blocks at every step; given back to the system each time, they cost page faults.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  static QuietWarnings quiet_warnings;
  c10::WarningUtils::set_warning_handler(&quiet_warnings);
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
