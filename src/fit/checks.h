#pragma once
#include "syncdr/training/optimizer_config.h"
#include "syncdr/training/run.h"
#include "unpaired_data.h"

/// What would stop a fit later, or leave one that has learned nothing. keys: of its settings ("fit.cut"), for messages.
namespace syncdr::fit {

/// Throws UsageError.
void check_training(const training::OptimizerConfig& optimizer, double ema, const std::string& keys);

/// The views and the images that it is trained on. Throws UsageError, DataError where a domain has no training images.
void check_images(const training::Task& task, const UnpairedOptions& options);

/// The least and the largest blur of structure maps. Throws UsageError.
void check_sigmas(const std::vector<double>& sigmas, const std::string& keys);

/// Throws UsageError unless one of a loss's weights is above 0.
void check_weights(const std::vector<double>& weights, const std::string& keys);

}  // namespace syncdr::fit
