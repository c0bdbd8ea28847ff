#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "syncdr/data/dataset.h"
#include "syncdr/evaluation/evaluate.h"

namespace syncdr::evaluation {

/// One row of the headline table: a training method and what it reached.
struct Arm {
  std::string name;                ///< "cds", "filter", "cut", "true"
  std::string title;               ///< "SynCDR, CUT translations"
  std::string run;                 ///< its translation run; empty: none
  Evaluation evaluation;
  double validation_score = 0;
  int64_t best_epoch = 0;
  std::filesystem::path log;       ///< its log.jsonl, for the curves
};

struct ReportInput {
  std::string title, domain_a, domain_b, split;
  std::vector<Arm> arms;                                             ///< in the order of the table
  std::vector<std::pair<std::string, std::filesystem::path>> curves; ///< further logs: title, log.jsonl
  std::string configuration;                                         ///< the resolved configuration (TOML)
};

/// A self-contained HTML page: headline table with intervals, sheets of source and translation for each translating arm and direction, loss
/// curves as inline SVG, retrieval rows (query, its nearest; right and wrong marked) of the best and the baseline arm, the configuration. No script,
/// no outside file; images are embedded. Written atomically.
void write_report(const std::filesystem::path& file, const data::Dataset& dataset, const ReportInput& input);

/// The headline table as text, for the terminal.
std::string table_text(const ReportInput& input);

}  // namespace syncdr::evaluation
