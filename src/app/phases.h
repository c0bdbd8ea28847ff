#pragma once
#include <boost/json/object.hpp>
#include <optional>
#include <string>

#include "arm.h"
#include "settings.h"
#include "syncdr/comm/world.h"
#include "syncdr/data/dataset.h"
#include "syncdr/evaluation/report.h"
#include "syncdr/training/run.h"

/// The phases of a job. Each is called by all ranks, skips what is already sealed, and returns its figures.
namespace syncdr::app {

/// What all phases share: the settings and the opened dataset with its two domains.
struct Job {
  Job(comm::World& world, const Settings& settings);

  comm::World& world;
  const Settings& settings;
  data::Dataset dataset;
  std::string domain_a, domain_b;
  std::filesystem::path out;

  struct Direction {
    std::string source, target;
    std::string name() const { return source + "-to-" + target; }
  };
  std::vector<Direction> directions() const { return {{domain_a, domain_b}, {domain_b, domain_a}}; }
  training::Task task(const Direction& direction, const std::filesystem::path& folder) const {
    return {world, dataset, direction.source, direction.target, static_cast<uint64_t>(settings.seed), folder};
  }
  /// The translated set an arm trains on: "" for cds; a translator's is named after the run folder, so that runs do not mix; otherwise the arm itself.
  std::string set_of(const Arm& arm) const;
  std::filesystem::path fit_folder(const std::string& translator, const Direction& direction) const { return out / "fit" / translator / direction.name(); }
  std::filesystem::path diffusion_folder() const { return out / "fit" / "diffusion"; }
  std::filesystem::path train_folder(const Arm& arm) const { return out / "train" / arm.folder(); }
};

/// Holds the setting `resume` against what is there: marks are files or folders, any of which says that an earlier run has begun. Throws UsageError.
void check_resume(Job& job, const std::vector<std::filesystem::path>& marks);
/// Trains what the translator samples from, unless it is a control or the settings name weights that are there.
void fit_phase(Job& job, const std::string& translator);
/// CUT's generators, both directions.
void fit_cut_phase(Job& job);
/// One diffusion model for both domains.
void fit_diffusion_phase(Job& job);
/// Translates both domains' training images.
boost::json::object translate_phase(Job& job, const std::string& translator);
/// Trains the retrieval model of one arm.
boost::json::object train_phase(Job& job, const Arm& arm);
/// Evaluates an arm's best encoder on a split. The result is rank 0's.
evaluation::Arm evaluate_phase(Job& job, const Arm& arm, const std::string& split);
/// What the report shows besides the arms: title, domains, curves of translators, configuration.
evaluation::ReportInput report_input(const Job& job, std::vector<evaluation::Arm> arms, const std::string& split);

}  // namespace syncdr::app
