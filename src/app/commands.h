#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "syncdr/core/config.h"

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
/// folder: where results will be written; json: a file for the findings, or empty.
int doctor_command(const std::string& folder, const std::string& json);
int keys_command();

/// What `syncdr plan` is asked.
struct PlanOptions {
  std::string command;                        ///< "translate" or "train"
  std::map<std::string, std::string> values;  ///< key -> value as TOML, of the fields that visit_plan lists
  std::vector<std::string> measured;          ///< --json files of earlier commands
  std::string of;                             ///< the member of these files to read; empty: all
  std::vector<int64_t> ranks = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  std::string plot, json;                     ///< files, or empty
};
/// Shows the fields of a plan for the command, with their defaults.
void visit_plan(const std::string& command, core::Fields& field);
/// Prints how long the command would take on so many ranks, and what it would cost. Throws UsageError, DataError.
int plan_command(PlanOptions options);

}  // namespace syncdr::app
