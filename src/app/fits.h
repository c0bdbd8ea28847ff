#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "phases.h"

/// The trainings of translators, as the phases see them.
namespace syncdr::app {

/// What can be fitted. Models have the names that the table of translators uses; `given` and `model` are theirs.
struct Fit {
  std::string name;
  std::string& (*given)(translate::TranslateConfig& config);              ///< the setting that names a model which is there already
  int64_t (*most_ranks)(const FitSettings& settings);                     ///< the smallest global batch
  std::vector<std::filesystem::path> (*folders)(const Job& job);          ///< of its trainings
  std::string (*model)(const Job& job, const Job::Direction& direction);  ///< what it leaves; empty: it has not begun
  void (*check)(const Job& job);                                          ///< throws what would stop it
  void (*run)(Job& job);
};
const std::vector<Fit>& fits();

/// Null: the translator needs none.
const Fit* fit_for(const translate::TranslatorRow& translator);
/// Whether a translator's texts may hold the tokens that the run fits itself.
bool uses_fitted_tokens(const Settings& settings, const translate::TranslatorRow& translator);
/// What has to be fitted before a part of an arm can be translated, and is not given.
std::vector<const Fit*> missing_fits(const Settings& settings, const ArmPart& part);

}  // namespace syncdr::app
