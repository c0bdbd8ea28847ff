#include "objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

namespace syncdr::retrieval {

LossShare loss_share(const TrainConfig& config, const GlobalBatch& batch, const at::Tensor& gathered, const std::vector<MemoryBank>& banks, bool with_matching,
                     int ranks) {
  const auto rows = [&](const at::Tensor& index) { return gathered.index_select(0, index.to(gathered.device())); };
  at::Tensor instance = gathered.new_zeros({}), matching = instance, pairs = instance;
  const size_t domains = batch.domains.size();
  for (size_t k = 0; k < domains; ++k) {
    const DomainBatch& domain = batch.domains[k];
    const auto own = [&](const at::Tensor& index) { return index.slice(0, domain.own.first, domain.own.last); };
    const at::Tensor features = rows(own(domain.features));
    const double share = static_cast<double>(domain.own.size()) / static_cast<double>(domain.ids.size(0));
    instance = instance + share / static_cast<double>(domains) * instance_discrimination(features, banks[k].rows(), own(domain.ids), config.temperature);
    for (size_t other = 0; with_matching && other < domains; ++other) {
      if (other == k) continue;
      const double part = share / static_cast<double>(domains - 1);
      matching = matching + part * cross_domain_matching(features, banks[other].rows(), config.temperature, config.matching_top);
    }
    pairs = pairs + 2.0 / static_cast<double>(domains) *
                        pseudo_positive_pairs(rows(domain.counterparts), rows(domain.features.index_select(0, domain.paired)), config.pair_temperature);
  }
  const auto weighted = [&](const at::Tensor& pairs_term) {
    return config.instance_weight * instance + config.matching_weight * matching + config.pair_weight * pairs_term;
  };
  const at::Tensor own_pairs = pairs / ranks;  // every rank has computed all of it
  return {weighted(pairs), at::stack({weighted(own_pairs), instance, matching, own_pairs}).detach()};
}

}  // namespace syncdr::retrieval
