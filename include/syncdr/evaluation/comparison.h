#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "syncdr/evaluation/bootstrap.h"
#include "syncdr/evaluation/phase_calls.h"

/// Several finished runs side by side, from the files that they left: no dataset and no model is needed.
namespace syncdr::evaluation {

/// A run as its folder says.
struct ComparedRun {
  std::string name, folder;                                         ///< name: tells it from the others
  std::string main;                                                 ///< the arm that metrics.json calls syncdr
  std::vector<std::pair<std::string, std::string>> settings;        ///< keys and values, as TOML
  boost::json::object metrics, hits;                                ///< metrics.json, hits.json; hits may be empty
  std::vector<std::pair<std::string, std::filesystem::path>> logs;  ///< an arm's name, its log.jsonl
  std::vector<PhaseCall> calls;
};

/// What an arm of a run reaches more than the same arm of the first run, on the same queries.
struct RunDifference {
  std::string arm, run;
  Unit unit = Unit::queries;
  Figures figures;
};
/// Of every arm that a run shares with the first, where both were measured on the same images (hits.json, "images"), with their domains in one order and the
/// same evaluate.gallery. Throws DataError if a file is broken.
std::vector<RunDifference> differences_of(const std::vector<ComparedRun>& runs, int64_t resamples = 1000);

/// Keys of settings that are not the same in all runs, with each run's value ("" where it has none). Where a run lies, and its title, are left out.
std::vector<std::pair<std::string, std::vector<std::string>>> differing_settings(const std::vector<ComparedRun>& runs);

/// One self-contained page: figures, differences (those of differences_of), settings that differ, retention, curves, time and cost. At least two runs. Throws
/// DataError if a file is broken.
void write_comparison(const std::filesystem::path& file, const std::vector<ComparedRun>& runs, const std::vector<RunDifference>& differences);
/// The table of figures, and the differences, as text and for programs.
std::string comparison_text(const std::vector<ComparedRun>& runs, const std::vector<RunDifference>& differences);
boost::json::object comparison_json(const std::vector<ComparedRun>& runs, const std::vector<RunDifference>& differences);

}  // namespace syncdr::evaluation
