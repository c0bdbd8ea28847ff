#include <c10/util/Exception.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <limits>

#include "commands.h"
#include "search.h"
#include "syncdr/core/error.h"
#include "syncdr/doctor/doctor.h"
#include "syncdr/plan/plan.h"

namespace syncdr::app {
namespace {

/// LibTorch's warnings speak of its own inner workings.
struct NoWarnings : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

/// Training frees and allocates the same large blocks at every step; given back to the system each time, they cost page faults.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

/// Options that choose a configuration.
void add_configuration(CLI::App& command, CommonOptions& options) {
  command.add_option("config", options.config, "configuration file (TOML); `syncdr keys` lists its keys")->required();
  command.add_option("--set", options.sets, "set one key, as in --set train.epochs=5 (may be repeated)")->allow_extra_args(false);
}

/// Options of every command that works on a dataset.
void add_common_options(CLI::App& command, CommonOptions& options) {
  add_configuration(command, options);
  command.add_option("--json", options.json, "write the figures of this command to a file");
  command.add_flag("--print-config", options.print_config, "print the resolved configuration and stop");
}

/// Of commands that go on from what an earlier call has left.
void add_resume_option(CLI::App& command, CommonOptions& options) {
  command
      .add_option_function<std::string>(
          "--resume", [&options](const std::string& mode) { options.sets.push_back("resume=\"" + mode + '"'); },
          "auto (default): go on from what is there; never: refuse it; require: refuse to begin anew")
      ->check(CLI::IsMember({"auto", "never", "require"}));
}

/// Options that choose features.
void add_feature_options(CLI::App& command, FeatureOptions& features) {
  command.add_option("--arm", features.arm, "the arm whose encoder makes features, as in run.arms, or untrained; without it: run.main");
  command.add_option("--features", features.folder, "their folder; without it: embeddings/ARM in the run folder");
  command.add_option("--domain", features.domains, "a domain (may be repeated); without it: all")->allow_extra_args(false);
  command.add_option("--split", features.splits, "train, val or test (may be repeated); without it: all")->allow_extra_args(false);
}

/// A field's default; plans have numbers and words.
std::string default_of(const core::Field& field) {
  if (const auto* number = std::get_if<double*>(&field.value)) return fmt::format("{:g}", **number);
  if (const auto* word = std::get_if<std::string*>(&field.value)) return **word;
  return fmt::format("{}", *std::get<int64_t*>(field.value));
}

/// Makes an option of each field of a plan: --seconds-per-image for seconds_per_image. What is given stands in values, as TOML.
void add_plan_fields(CLI::App& command, const std::string& planned, std::map<std::string, std::string>& values) {
  core::Fields fields([&](const core::Field& field) {
    std::string name = "--" + field.key;
    std::replace(name.begin(), name.end(), '_', '-');
    const bool word = std::holds_alternative<std::string*>(field.value);
    const auto keep = [&values, word, key = field.key](const std::string& text) { values[key] = word ? '"' + text + '"' : text; };
    auto* option = command.add_option_function<std::string>(name, keep, fmt::format("{} [{}]", field.help, default_of(field)))->type_name("");
    if (word) option->check(CLI::IsMember(field.choices));
    else option->check(CLI::Number);
  });
  plan::visit_fields(planned, fields);
}

void add_plan_command(CLI::App& plan, const char* command, const char* meaning, plan::Options& options) {
  auto* sub = plan.add_subcommand(command, meaning);
  sub->callback([&options, command] { options.command = command; });
  sub->add_option("--measured", options.measured,
                  "figures of an earlier call, its --json file (`syncdr doctor`'s too); may be repeated, for other numbers of ranks")
      ->allow_extra_args(false)
      ->check(CLI::ExistingFile);
  sub->add_option("--of", options.of, "what to read of such a file where it holds several, as \"translate cut\" or \"train cds\" of `syncdr run`");
  sub->add_option("--ranks", options.ranks, "numbers of ranks, as 1,2,8 [1,2,4 ... 1024]")->delimiter(',');
  sub->add_option("--plot", options.plot, "also write a plot (SVG)");
  sub->add_option("--json", options.json, "also write the figures");
  add_plan_fields(*sub, command, options.values);
}

/// Parses the command line and does what it asks for. The command runs after parsing, so that an exception of its own is not taken for a wrong option.
int command_line(int argc, char** argv) {
  CLI::App program{"Cross-domain image retrieval trained with synthetic data.", "syncdr"};
  program.require_subcommand(1);
  program.set_version_flag("--version", SYNCDR_VERSION);
  CommonOptions common;
  std::string model, sweep, arm, split, folder = ".", json, page;
  std::vector<std::string> arms, runs;
  std::function<int()> chosen;
  const auto add = [&](const char* name, const char* meaning, std::function<int()> work) {
    auto* command = program.add_subcommand(name, meaning);
    command->callback([&chosen, work = std::move(work)] { chosen = work; });
    return command;
  };

  auto* run = add("run", "the whole job: fit translators, translate, train, evaluate, report; what is done is skipped", [&] { return run_command(common); });
  add_common_options(*run, common);
  add_resume_option(*run, common);

  auto* jobs = add("jobs", "print the jobs that `run` consists of, for a scheduler; needs neither ranks nor the dataset", [&] { return jobs_command(common); });
  add_configuration(*jobs, common);
  jobs->add_option("--json", common.json, "also write them to a file: a list of {name, phase, needs, ranks (null: any number), out, arguments}");
  jobs->footer(
      "Each job is a line of fields with a tab between: its name; PHASE; the names of the jobs that it needs, with commas, or -; the most\n"
      "ranks that it can use, or -; the run folder; then ARGUMENTS. `syncdr PHASE ARGUMENTS` does it. A job comes behind those that it needs.");

  auto* fit = add("fit", "train a translator on the domains", [&] { return phase_command(common, "fit", model); });
  fit->add_option("model", model, "cut (a model per direction), diffusion, elite-mapper (one for all) or textual-inversion (a token per domain)")
      ->required()
      ->check(CLI::IsMember(fit_names()));
  add_common_options(*fit, common);
  add_resume_option(*fit, common);

  auto* translate = add("translate", "translate the training images of all domains with translate.translator",
                        [&] { return sweep.empty() ? phase_command(common, "translate", "") : sweep_command(common, sweep); });
  add_common_options(*translate, common);
  add_resume_option(*translate, common);
  translate->add_option("--sweep", sweep,
                        "instead, a sheet of a few pictures with a column for each value of a key, as translate.img2img.strength=0.2,0.4,0.6");

  auto* train = add("train", "train the retrieval model of one arm", [&] { return phase_command(common, "train", arm); });
  add_common_options(*train, common);
  add_resume_option(*train, common);
  train->add_option("--arm", arm, "an arm as in run.arms; without it: run.main");

  auto* evaluate = add("evaluate", "measure trained arms: a table, and the figures with --json", [&] { return evaluate_command(common, arms, split); });
  add_common_options(*evaluate, common);
  evaluate->add_option("--arm", arms, "an arm (may be repeated); without it: all of run.arms")->allow_extra_args(false);
  evaluate->add_option("--split", split, "which images: test or val; without it those of evaluate.protocol")->check(CLI::IsMember({"test", "val"}));

  auto* retention = add("retention", "whether translations find their sources, and sources their translations, before training; without labels",
                        [&] { return retention_command(common, arms); });
  add_common_options(*retention, common);
  retention->add_option("--arm", arms, "an arm whose translations are there (may be repeated); without it: all of run.arms")->allow_extra_args(false);

  FeatureOptions features;
  int64_t rows = 1024;
  auto* embed = add("embed", "write the features of the dataset's images into files, to search in", [&] { return embed_command(common, features, rows); });
  add_common_options(*embed, common);
  add_resume_option(*embed, common);
  add_feature_options(*embed, features);
  embed->add_option("--rows", rows, "images whose features are in one file [1024]")->check(CLI::PositiveNumber);

  SearchOptions searched;
  auto* search =
      add("search", "find the images nearest to pictures or texts, in what `embed` has written", [&] { return search_command(common, features, searched); });
  add_common_options(*search, common);
  add_feature_options(*search, features);
  search->add_option("--query", searched.pictures, "pictures to search with: JPEG, PNG, WebP or TIFF")->type_name("IMAGE...");
  search->add_option("--text", searched.texts, "a text to search with, where the encoder is a CLIP as it was downloaded (may be repeated)")
      ->allow_extra_args(false);
  search->add_option("-k", searched.k, "images to find for each [10]");
  search->add_option("--sheet", searched.sheet, "also write a page with the pictures")->type_name("FILE.html");
  search->add_option("--tokenizer", searched.tokenizer, "folder of CLIP's vocabulary, for --text; without it: that of the weights");

  search::ServerOptions server;
  auto* serve = add("serve", "the same as a web page for this machine's browser: drop a sketch, see what is nearest",
                    [&] { return serve_command(common, features, searched.tokenizer, server); });
  add_configuration(*serve, common);
  add_feature_options(*serve, features);
  serve->add_option("--port", server.port, "port; 0: any that is free, which is printed [8000]");
  serve->add_option("--host", server.host, "address to listen on; others than [127.0.0.1] let everybody in who reaches it");
  serve->add_option("--tokenizer", searched.tokenizer, "folder of CLIP's vocabulary; without it: that of the weights");

  auto* report = add("report", "a page that compares runs side by side; of a single run its report anew", [&] { return report_command(runs, page, json); });
  report->add_option("runs", runs, "folders of finished runs; differences are to the first")->required();
  report->add_option("-o,--out", page, "the page of a comparison [comparison.html]");
  report->add_option("--json", json, "also write the figures to a file");

  auto* doctor = add("doctor", "what this machine has for syncdr, and what to mend", [&] { return doctor::examine(folder, json); });
  doctor->add_option("--folder", folder, "where results will be written");
  doctor->add_option("--json", json, "also write the findings to a file");

  plan::Options plan_options;
  auto* plan = add("plan", "how long translating or training would take on 1 to 1024 ranks, and its cost", [&] { return plan::print_plan(plan_options), 0; });
  plan->require_subcommand(1);
  add_plan_command(*plan, "translate", "plan a translation", plan_options);
  add_plan_command(*plan, "train", "plan the training of a retrieval model", plan_options);
  add_plan_command(*plan, "data", "plan a dataset: files, bytes, memory, and the time to pack it", plan_options);

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
  static syncdr::app::NoWarnings no_warnings;
  c10::WarningUtils::set_warning_handler(&no_warnings);
  return syncdr::core::run_main([&] { return syncdr::app::command_line(argc, argv); });
}
