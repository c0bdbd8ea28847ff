#include <c10/util/Exception.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <limits>

#include "commands.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/main.h"

namespace syncdr::app {
namespace {

/// LibTorch's warnings speak of its own inner workings; a user sees them only when looking for them.
struct QuietWarnings : c10::WarningHandler {
  void process(const c10::Warning& warning) override { core::debug("LibTorch: {}", warning.msg()); }
};

/// Training frees and allocates the same large blocks at every step; given back to the system each time, they cost page faults.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

/// Options of every command that works on a dataset.
void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("config", options.config, "configuration file (TOML); `syncdr keys` lists its keys")->required();
  command.add_option("--set", options.sets, "set one key, as in --set train.epochs=5 (may be repeated)")->allow_extra_args(false);
  command.add_option("--json", options.json, "write the figures of this command to a file");
  command.add_flag("--print-config", options.print_config, "print the resolved configuration and stop");
}

/// Parses the command line and does what it asks for. The command runs after parsing, so that an exception of its own is not taken for a wrong option.
int command_line(int argc, char** argv) {
  CLI::App program{"Cross-domain image retrieval trained with synthetic data.", "syncdr"};
  program.require_subcommand(1);
  program.set_version_flag("--version", SYNCDR_VERSION);
  CommonOptions common;
  std::string translator, arm, split = "test", folder = ".", json;
  std::vector<std::string> arms;
  std::function<int()> chosen;
  const auto add = [&](const char* name, const char* meaning, std::function<int()> work) {
    auto* command = program.add_subcommand(name, meaning);
    command->callback([&chosen, work = std::move(work)] { chosen = work; });
    return command;
  };

  auto* run = add("run", "the whole job: fit translators, translate, train, evaluate, report; what is done is skipped", [&] { return run_command(common); });
  add_common_options(*run, common);

  auto* fit = add("fit", "train a translator on the two domains", [&] { return fit_command(common, translator); });
  fit->add_option("translator", translator, "cut (a model a direction) or diffusion (one for both)")->required()->check(CLI::IsMember({"cut", "diffusion"}));
  add_common_options(*fit, common);

  auto* translate = add("translate", "translate the training images of both domains with translate.translator", [&] { return translate_command(common); });
  add_common_options(*translate, common);

  auto* train = add("train", "train the retrieval model of one arm", [&] { return train_command(common, arm); });
  add_common_options(*train, common);
  train->add_option("--arm", arm, "an arm as in run.arms; without it: run.main");

  auto* evaluate = add("evaluate", "measure trained arms: a table, and the figures with --json", [&] { return evaluate_command(common, arms, split); });
  add_common_options(*evaluate, common);
  evaluate->add_option("--arm", arms, "an arm (may be repeated); without it: all of run.arms")->allow_extra_args(false);
  evaluate->add_option("--split", split, "which images: test or val")->check(CLI::IsMember({"test", "val"}));

  auto* doctor = add("doctor", "what this machine has for syncdr, and what to mend", [&] { return doctor_command(folder, json); });
  doctor->add_option("--folder", folder, "where results will be written");
  doctor->add_option("--json", json, "also write the findings to a file");

  add("keys", "list every configuration key with its meaning, range and default", keys_command);

  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : static_cast<int>(core::ExitCode::usage);
  }
  return chosen();
}

}  // namespace
}  // namespace syncdr::app

int main(int argc, char** argv) {
  syncdr::app::keep_freed_memory();
  static syncdr::app::QuietWarnings quiet_warnings;
  c10::WarningUtils::set_warning_handler(&quiet_warnings);
  return syncdr::core::run_main([&] { return syncdr::app::command_line(argc, argv); });
}
