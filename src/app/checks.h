#pragma once
#include <optional>
#include <string>
#include <vector>

#include "phases.h"

/// What would stop a phase hours later, found before the first one begins. Called by all ranks.
namespace syncdr::app {

/// That files can be made in a folder, which need not be there yet. Throws IoError. setting: what names it, for the message.
void check_writable(const Job& job, const std::filesystem::path& folder, const std::string& setting);

/// Training arms: the encoder and its weights, the splits, the size of batches, the translated sets that are to be there already. Throws UsageError or
/// DataError.
void check_train(const Job& job, const std::vector<std::string>& arms);
/// A domain that has no validation images, if there is one: then nothing is validated, and the last epoch is kept.
std::optional<std::string> without_validation(const Job& job);

/// Measuring all arms on a split: every domain has images in it, all with labels, and shares a category with each other. Throws DataError.
void check_evaluation(const Job& job, const std::string& split);
/// Before arms are measured: those that are trained are trained to their end. Throws DataError naming what is missing.
void check_trained(const Job& job, const std::vector<std::string>& arms);

}  // namespace syncdr::app
