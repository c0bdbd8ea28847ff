#pragma once
#include <optional>
#include <string>
#include <vector>

#include "syncdr/evaluation/report.h"

/// What table, page and JSON ask of a report's arms.
namespace syncdr::evaluation {

/// The k of Prec@k, ascending. Throws BugError if there are no arms or they differ in it or in their directions.
std::vector<int64_t> cutoffs_of(const ReportInput& input);

/// The arms that the report calls baseline and main; null if there is none.
const ArmResult* baseline_of(const ReportInput& input);
const ArmResult* main_of(const ReportInput& input);

/// One column of the headline table.
struct Column {
  std::optional<size_t> direction;  ///< of Evaluation::directions; none: the mean of all
  int64_t k;
  const Estimate& estimate(const ArmResult& arm) const;
  /// The arm with the largest value, ceilings left out; null if all are ceilings.
  const ArmResult* best(const ReportInput& input) const;
};

/// The directions of the arms' evaluations, by the first arm's.
const std::vector<DirectionScores>& directions_of(const ReportInput& input);
/// "photo→sketch", with what joins their names.
std::string name_of(const DirectionScores& direction, const std::string& joint);
/// How many queries each domain has, "2,280".
std::vector<std::string> queries_of(const ReportInput& input);
/// "both" directions, or "all".
std::string both_or_all(const ReportInput& input);

/// "Prec@k, SynCDR protocol, split test, 2,280 + 2,280 queries, 95 % bootstrap over categories".
std::string protocol_text(const ReportInput& input);

std::string percent(double share);                    ///< 0.1092 -> "10.9"
std::string interval_text(const Estimate& estimate);  ///< "9.7–12.1"
std::string grouped(int64_t value);                   ///< 12345 -> "12,345"

}  // namespace syncdr::evaluation
