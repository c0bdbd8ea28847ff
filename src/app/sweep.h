#pragma once
#include <string>
#include <vector>

#include "commands.h"
#include "phases.h"

namespace syncdr::app {

/// A key and the values that `--sweep KEY=VALUE,VALUE,...` gives it. Throws UsageError if there is none, or the key is not translate's or the seed.
struct Sweep {
  std::string key;
  std::vector<std::string> values;

  explicit Sweep(const std::string& text);
};

/// Writes a sheet into the run folder: a few training images of every direction, and a column with their translations for each value. Throws UsageError if
/// the translator does not read the key or it does not take a value, and on several ranks.
boost::json::object translate_sweep(Job& job, const CommonOptions& options, const Sweep& sweep);

}  // namespace syncdr::app
