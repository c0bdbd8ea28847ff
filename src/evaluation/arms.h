#pragma once
#include <optional>
#include <string>
#include <vector>

#include "syncdr/evaluation/report.h"

/// What table, page and JSON ask of a report's arms.
namespace syncdr::evaluation {

/// The k of Prec@k that tables begin with, ascending. Throws BugError if there are no arms or they differ in what was measured or in their directions.
std::vector<int64_t> cutoffs_of(const ReportInput& input);
/// All other measures.
std::vector<Measure> further_measures_of(const ReportInput& input);

/// The arms that the report calls baseline and main; null if there is none.
const ArmResult* baseline_of(const ReportInput& input);
const ArmResult* main_of(const ReportInput& input);

/// One column of the headline table.
struct Column {
  std::optional<size_t> direction;  ///< of Evaluation::directions; none: the mean of all
  int64_t k;                        ///< of Prec@k
  const Estimate& estimate(const ArmResult& arm) const;
  /// Its difference to another arm with which it was compared.
  const Estimate& estimate(const ArmResult& arm, const ArmResult& less) const;
  /// "photo→sketch" with what joins their names, or "mean".
  std::string title(const ReportInput& input, const std::string& joint) const;
  /// The arm with the largest value, ceilings left out; null if all are ceilings.
  const ArmResult* best(const ReportInput& input) const;
};

/// All columns: those of each direction, then of the mean.
std::vector<Column> columns_of(const ReportInput& input);

/// The arms with which others were compared, and those others.
std::vector<const ArmResult*> references_of(const ReportInput& input);
std::vector<const ArmResult*> arms_compared_with(const ReportInput& input, const ArmResult& reference);

/// Of all arms' sets, each set once.
std::vector<SetRetention> retention_of(const ReportInput& input);
inline constexpr const char* retention_note =
    "Retention: how often a translation finds its own source first among all sources of the domain, and the source its translation, under the encoder as it "
    "was before training. No labels are read.";

/// The directions of the arms' evaluations, by the first arm's.
const std::vector<DirectionScores>& directions_of(const ReportInput& input);
/// "photo→sketch", with what joins their names.
std::string name_of(const DirectionScores& direction, const std::string& joint);
/// How many queries each domain has, "2,280".
std::vector<std::string> queries_of(const ReportInput& input);
/// "Of each training the epoch is kept that ...", by what the arms' epochs were chosen; empty if none was trained.
std::string kept_epochs_text(const ReportInput& input);
/// "both" directions, or "all".
std::string both_or_all(const ReportInput& input);

/// "Prec@k, SynCDR protocol (...), split test, 2,280 + 2,280 queries, 95 % bootstrap over 1,140 categories".
std::string protocol_text(const ReportInput& input);
/// "SynCDR" or "UCDIR".
std::string protocol_name(const Evaluation& evaluation);
/// ", closed category sets", or which direction has which; how many queries were left out.
std::string category_sets_text(const ReportInput& input);
/// What the table of further measures holds.
std::string further_text(const ReportInput& input);
/// "seen in training".
std::string title_of(const CategoryGroup& group);
/// Whether categories differ in what training has seen of them: else groups say nothing new.
bool shows_groups(const ReportInput& input);
/// What differences are, and how to read them.
std::string differences_text(const ReportInput& input, const char* mark);

std::string percent(double share);                    ///< 0.1092 -> "10.9"
std::string interval_text(const Estimate& estimate);  ///< "9.7–12.1"
/// "+1.2 [0.3 to 2.1]"; a "*" before it if the interval leaves zero out.
std::string difference_text(const Estimate& estimate);
std::string grouped(int64_t value);  ///< 12345 -> "12,345"

}  // namespace syncdr::evaluation
