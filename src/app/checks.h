#pragma once
#include <string>

#include "phases.h"

/// What would stop a phase hours later, found before the first one begins. Called by all ranks.
namespace syncdr::app {

/// Training an arm: its encoder and weights, the splits, the size of its batches, the translated sets that are to be there already. Throws UsageError or
/// DataError.
void check_train(const Job& job, const std::string& arm);

/// Measuring all arms on a split: every domain has images in it, all with labels, and shares a category with each other. Throws DataError.
void check_evaluation(const Job& job, const std::string& split);

}  // namespace syncdr::app
