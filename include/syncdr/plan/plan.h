#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "syncdr/core/config.h"

/// How long `syncdr translate` and `syncdr train` would take on 1 to 1024 ranks, from figures measured on a few; and what a dataset takes. src/plan/README.md
/// has the model.
namespace syncdr::plan {

/// What is asked.
struct Options {
  std::string command;                        ///< "translate", "train" or "data"
  std::map<std::string, std::string> values;  ///< key -> value as TOML, of the fields that visit_fields shows
  std::vector<std::string> measured;          ///< --json files of earlier commands
  std::string of;                             ///< the member of these files to read; empty: all
  std::vector<int64_t> ranks = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  std::string plot, json;  ///< files, or empty
};
/// Shows the fields of a plan for the command, with their defaults.
void visit_fields(const std::string& command, core::Fields& field);
/// Prints how long the command would take on so many ranks, and what it would cost. Throws UsageError, DataError.
void print_plan(Options options);

/// What joins ranks, as a plan takes it: us of one message, GB/s (10^9 bytes), "halving" or "binomial".
struct Link {
  double latency_us = 0, bandwidth_gb = 0;
  std::string all_reduce;
};
/// Of the measured times of an all-reduce over at least 2 ranks, of nothing and of `bytes`.
Link link_of(const std::string& all_reduce, int64_t ranks, double empty_seconds, double seconds, double bytes);

}  // namespace syncdr::plan
