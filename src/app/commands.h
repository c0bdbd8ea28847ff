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
/// model: one of fit_names.
int fit_command(const CommonOptions& options, const std::string& model);
std::vector<std::string> fit_names();
int translate_command(const CommonOptions& options);
/// arm: empty for run.main.
int train_command(const CommonOptions& options, const std::string& arm);
/// arms: empty for all of run.arms.
int evaluate_command(const CommonOptions& options, const std::vector<std::string>& arms, const std::string& split);
int keys_command();

}  // namespace syncdr::app
