#pragma once
#include <string>
#include <vector>

#include "syncdr/evaluation/comparison.h"

/// What text, page and JSON of a comparison read in the runs' metrics.json.
namespace syncdr::evaluation {

/// An arm of a run: its object in metrics.json.
struct ComparedArm {
  std::string name, title;
  const boost::json::object* figures;
};
/// In the order baseline, main, controls. Throws DataError.
std::vector<ComparedArm> arms_of(const ComparedRun& run);
/// Null: the run has none of this name.
const boost::json::object* arm_of(const ComparedRun& run, const std::string& name);
/// All arms' names, those of the first run first.
std::vector<std::string> arm_names(const std::vector<ComparedRun>& runs);

/// The k of Prec@k that all runs have, ascending. Throws DataError if there is none.
std::vector<int64_t> shared_cutoffs(const std::vector<ComparedRun>& runs);
/// Names of directions in metrics.json ("a_to_b", "photo-to-sketch") if all runs have the same domains, else none; with the domains' names in words.
std::vector<std::pair<std::string, std::string>> shared_directions(const std::vector<ComparedRun>& runs);
/// A figure of Prec@k: of a direction or of "mean". Throws DataError.
Estimate figure_of(const ComparedRun& run, const boost::json::object& arm, int64_t k, const std::string& which);

/// Of each run whose differences to the first are left out, a sentence that says why. Throws DataError.
std::vector<std::string> left_out_of_differences(const std::vector<ComparedRun>& runs);

}  // namespace syncdr::evaluation
