#include "checks.h"

#include <ATen/ops/zeros.h>

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::fit {

void check_training(const training::OptimizerConfig& optimizer, double ema, const std::string& keys) {
  if (ema >= 1) throw core::UsageError("{}.ema = 1: the average would never leave the first weights. Use a value below 1, or 0 for none", keys);
  try {
    training::make_optimizer(std::vector<at::Tensor>{at::zeros({1})}, optimizer);
  } catch (const core::UsageError& error) {
    throw core::UsageError("{}: {}", keys, error.what());
  }
}

void check_images(const training::Task& task, const UnpairedOptions& options) {
  data::check_sides(options.augment, options.keys + ".augment");
  for (const auto& domain : task.domains)
    if (task.dataset.real(domain, "train").rows() == 0)
      throw core::DataError("{}: the domain {} has no training images, which {} needs. Pack the dataset with some", task.dataset.root().string(), domain,
                            options.keys);
  UnpairedBatches(task.dataset, task.domains, options, task.seed, {});
}

void check_sigmas(const std::vector<double>& sigmas, const std::string& keys) {
  if (sigmas.size() != 2 || sigmas[0] > sigmas[1])
    throw core::UsageError("{}.sigmas = [{}]: needs two values, the least and the largest", keys, fmt::join(sigmas, ", "));
}

void check_weights(const std::vector<double>& weights, const std::string& keys) {
  if (std::all_of(weights.begin(), weights.end(), [](double weight) { return weight == 0; }))
    throw core::UsageError("{}: all weights of the loss are 0, so nothing would be learned. Set one above 0", keys);
}

}  // namespace syncdr::fit
