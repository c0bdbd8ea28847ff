#pragma once
#include <algorithm>
#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "settings.h"
#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/retrieval/features.h"
#include "syncdr/training/run.h"

namespace syncdr::app {

/// What all phases share: the settings and the opened dataset with its domains.
struct Job {
  Job(comm::World& world, const Settings& settings);

  comm::World& world;
  const Settings& settings;
  data::Dataset dataset;
  std::vector<std::string> domains;  ///< two or more
  std::filesystem::path out;
  /// Of the images that the report is made on, by the backbone as it is before training: arms that do not train it share them.
  retrieval::PooledFeatures pooled;

  struct Direction {
    std::string source, target;
    std::string name() const { return source + "-to-" + target; }
  };
  /// All ordered pairs of domains.
  std::vector<Direction> directions() const;
  training::Task task(const std::vector<std::string>& of, const std::filesystem::path& folder) const { return {world, dataset, of, seed(), folder}; }
  uint64_t seed() const { return static_cast<uint64_t>(settings.seed); }
  std::filesystem::path cut_folder(const Direction& direction) const { return out / "fit" / "cut" / direction.name(); }
  std::filesystem::path diffusion_folder() const { return out / "fit" / "diffusion"; }
  std::filesystem::path textual_inversion_folder() const { return out / "fit" / "textual-inversion"; }
  std::filesystem::path elite_mapper_folder() const { return out / "fit" / "elite-mapper"; }
  std::filesystem::path train_folder(const Arm& arm) const { return out / "train" / arm.folder(); }
  /// Where what encoders without training make of the images is kept.
  std::filesystem::path kept_folder() const {
    return settings.train.kept_folder.empty() ? out / "features" : std::filesystem::path(settings.train.kept_folder);
  }
};

struct Phase;

/// A phase of the job, for one subject.
struct PhaseTask {
  std::string subject;             ///< the model to fit, the translator to apply, or the arm to train; empty: all arms
  int64_t most_ranks = 0;          ///< that it can use; 0: any number
  std::vector<std::string> first;  ///< arguments of its command before those that give the configuration
  std::vector<std::string> last;   ///< arguments behind them
  std::vector<std::string> needs;  ///< names of the tasks whose results it works on
  // The following are tasks_of's to fill in.
  const Phase* phase = nullptr;
  std::string name;  ///< "train-structure-1"
};

/// A row of the table of phases.
struct Phase {
  std::string name;  ///< the command that does it: `run` finds what is before it done, evaluates and reports
  /// What an arm needs of it.
  std::vector<PhaseTask> (*tasks)(const Settings& settings, const Arm& arm);
  /// Files or folders, any of which says that an earlier call has begun.
  std::vector<std::filesystem::path> (*marks)(const Job& job, const std::string& subject);
  /// Called by all ranks, for all subjects at once, before any phase of the job begins. Throws what would stop this one, if that shows already; null: nothing
  /// can.
  void (*check)(const Job& job, const std::vector<std::string>& subjects) = nullptr;
  /// Called by all ranks. Skips what is sealed; returns figures.
  boost::json::object (*run)(Job& job, const std::string& subject);
};

/// fit, translate, train, run: in the order in which they are done.
const std::vector<Phase>& phases();
/// The row of such a table.
template <class Row> const Row& named(const std::vector<Row>& table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const Row& row) { return row.name == name; });
  SYNCDR_ASSERT(found != table.end(), "there is no \"{}\" in the table", name);
  return *found;
}
/// All tasks of the configuration's arms. Each comes behind those that it needs. Throws UsageError where settings of one are missing.
std::vector<PhaseTask> tasks_of(const Settings& settings);

/// How a translator is applied in one direction: the settings, the run's name, and the model that was fitted where none is given.
translate::TranslateConfig translation(const Job& job, const std::string& translator, const Job::Direction& direction);
/// Holds the setting `resume` against what is there. Throws UsageError.
void check_resume(const Job& job, const Phase& phase, const std::string& subject);
/// Measures how well the translated sets of arms keep what their sources show; prints a table and returns its figures. Throws UsageError if no arm has one.
boost::json::object measure_retention(Job& job, const std::vector<std::string>& arms);
/// Evaluates the best encoders of arms on a split, prints their table and returns its figures (rank 0's); writes the report as well if asked to.
boost::json::object evaluate_arms(Job& job, const std::vector<std::string>& arms, const std::string& split, bool with_report);

}  // namespace syncdr::app
