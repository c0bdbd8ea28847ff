#pragma once
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "syncdr/data/dataset.h"
#include "syncdr/evaluation/evaluate.h"
#include "syncdr/evaluation/feature_map.h"
#include "syncdr/evaluation/phase_calls.h"
#include "syncdr/evaluation/retention.h"

namespace syncdr::evaluation {

/// An arm's figures less another arm's, on the same queries.
struct Difference {
  std::string to;  ///< the other arm's name
  Figures figures;
};

/// How well a translated set keeps what its sources show, one way.
struct SetRetention {
  std::string set, source, target;
  RetentionFigures figures;
};

/// The epoch of a training that is best by something else than the kept one.
struct OtherChoice {
  std::string by;  ///< "labels", "mutual", "uniformity"
  int64_t epoch = 0;
  std::map<Measure, Estimate> mean;  ///< what it reaches, without intervals
};

/// What one arm reached: a row of the headline table.
struct ArmResult {
  std::string name;               ///< "cds", "filter", "cut", "true"
  std::string title;              ///< "SynCDR, CUT translations"
  std::vector<std::string> sets;  ///< the translated sets that it was trained on; empty: none
  Evaluation evaluation;
  double validation_score = 0;  ///< mean Prec@1 on validation images, a share
  int64_t best_epoch = 0;
  std::filesystem::path log;            ///< its log.jsonl, for the curves; empty or missing: no curve
  bool ceiling = false;                 ///< trained with what no one has (true counterparts): shown, never marked as best
  std::string selected_by = "labels";   ///< what the kept epoch is best in; validation_score is of it
  std::optional<OtherChoice> other;     ///< with labels where that is without, or without
  std::vector<Difference> differences;  ///< by compare_arms()
  std::vector<SetRetention> retention;  ///< of its sets, under the encoder as it was before training; empty: not measured
};

/// A setting of the run, and what it is by default; both as TOML.
struct Setting {
  std::string key, value, preset;
  bool changed() const { return value != preset; }
};

struct ReportInput {
  std::string title, split;
  std::vector<std::string> domains;                                   ///< those of the arms' evaluations, in their order
  std::vector<ArmResult> arms;                                        ///< in the order of the table; at least one, all with the same cutoffs and directions
  std::string baseline, main;                                         ///< names of arms; empty: the first arm without sets, the best one with sets
  std::vector<std::pair<std::string, std::filesystem::path>> curves;  ///< further logs: title, log.jsonl
  std::string configuration;                                          ///< the resolved configuration (TOML)
  std::vector<Setting> settings;                                      ///< the same, one by one
  std::optional<int64_t> seed;
  std::vector<FeatureMap> maps;
  std::vector<PhaseCall> calls;
  /// Of translated sets, by (set, source, target): which translations are kept best and worst; empty: not measured.
  std::map<std::tuple<std::string, std::string, std::string>, PairRanks> pair_ranks;
};

/// Compares each arm with the baseline and with the arm "untrained", where they are: resamples are drawn as those of the figures' intervals.
void compare_arms(ReportInput& input, uint64_t seed, int64_t resamples);

/// A self-contained HTML page: headline table with intervals, sheets of source and translation for each translated set and direction (those kept best and
/// worst among them), retrieval rows (query, its nearest; right and wrong marked) of the main and the baseline arm, which categories are taken for which, maps
/// of features, training curves as inline SVG, time and cost, the configuration, what was quarantined. No script, no outside file; images are embedded: some
/// four million bytes at most, whatever the number of sets and domains. Written atomically. Throws DataError if a translation or an image that it shows is
/// broken.
void write_report(const std::filesystem::path& file, const data::Dataset& dataset, const ReportInput& input);

/// A table of retention as text; empty without any.
std::string retention_text(const std::vector<SetRetention>& retention);
boost::json::array retention_json(const std::vector<SetRetention>& retention);

/// The headline table as text, for the terminal.
std::string table_text(const ReportInput& input);

/// The figures for programs, shares in 0..1: {"protocol", "domains", "cds": ARM, "syncdr": ARM, "controls": {NAME: ARM}, "settings"}, where
/// the baseline is called "cds" and the main arm "syncdr" (left out if there is no such arm) and ARM is {"prec@1": {"a_to_b", "b_to_a",
/// "mean", "a_to_b_interval": [low, high], ..., "protocol": "syncdr" or "ucdir"}, "prec@5", ..., "recall@1", ..., "map", "queries", "gallery", "unanswerable"
/// (queries without a right image, which no figure counts), "category_set" ("closed", "partial", "open"), "shared_categories", where training images have
/// labels "categories": {"seen": {"queries", "prec@1": {"mean", ...}, ...}, "unseen", ...} (CategoryGroup), "best_epoch", "validation", "title"}, and after
/// compare_arms() "vs_cds" (to the baseline) and "vs_untrained": {"unit": what intervals draw, "queries" or "categories", "prec@1": as above, ...},
/// "selected_by" and where there is one "other_choice": {"by", "epoch", "prec@1", ...} (means over directions), and "retention", if it was measured: a list of
/// {"set", "source", "target", "pairs", "source_at_1", ...}. Two domains are {"a", "b"}; more are a list, and "sketch-to-photo" stands in place of "a_to_b".
boost::json::object metrics_json(const ReportInput& input, const std::string& baseline_name, const std::string& main_name);

/// Writes what each query found, for comparisons of several runs on the same queries: {"unit": what intervals draw, "images": as given, what tells whether
/// two runs' queries are the same, "categories": {"a_to_b": one label per query, ...}, "possible": {"a_to_b": {"prec@1": neighbours of each query that could
/// have been right, ...}, ...}, "correct": {TITLE: as "possible", of those that were}}. Atomically, and list by list: there may be millions of queries.
void write_hits(const std::filesystem::path& file, const ReportInput& input, const boost::json::value& images);

}  // namespace syncdr::evaluation
