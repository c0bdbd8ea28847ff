#pragma once
#include <string>
#include <vector>

/// The commands of syncdr: each does its work and returns the program's exit code. main.cpp holds the command line.
namespace syncdr::app {

/// Options of every command that works on a dataset.
struct CommonOptions {
  std::string config;
  std::vector<std::string> sets;
  std::string json;
  bool print_config = false;
};

int run_command(const CommonOptions& options);
/// Prints the jobs that `run` consists of.
int jobs_command(const CommonOptions& options);
/// One phase alone. subject: what to fit (one of fit_names) or the arm to train; empty: the one that the configuration names for this phase.
int phase_command(const CommonOptions& options, const std::string& name, const std::string& subject);
/// A sheet of translations for each value of a key, "KEY=VALUE,VALUE,...", in the place of a translation.
int sweep_command(const CommonOptions& options, const std::string& sweep);
std::vector<std::string> fit_names();
/// arms: empty for all of run.arms.
int evaluate_command(const CommonOptions& options, const std::vector<std::string>& arms, const std::string& split);
/// How well the translated sets of these arms keep what their sources show. arms: as above.
int retention_command(const CommonOptions& options, const std::vector<std::string>& arms);
/// Of several runs a page that compares them (page: its file; empty: comparison.html); of one run its report anew. Throws DataError naming a folder that is no
/// run's, or whose run is not finished; UsageError for one folder twice.
int report_command(const std::vector<std::string>& runs, const std::string& page, const std::string& json);
int keys_command();

}  // namespace syncdr::app
