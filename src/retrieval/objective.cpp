#include "objective.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>

#include <algorithm>

#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

at::Tensor rows(const at::Tensor& gathered, const at::Tensor& index) { return gathered.index_select(0, index.to(gathered.device())); }

/// Positions [first, last) of a batch.
at::Tensor within(const at::Tensor& of_batch, training::Part part) { return of_batch.slice(0, part.first, part.last); }

/// The sum of a global batch's losses, each with its gradient for all gathered rows.
class Sum {
 public:
  Sum(const TrainConfig& config, const GlobalBatch& batch, const at::Tensor& gathered)
      : config_(config), batch_(batch), gathered_(gathered), gradient_(at::zeros_like(gathered)), zero_(gathered.new_zeros({})) {}

  /// The mean loss of a domain's features, times scale. Returns this rank's share of it, unweighted.
  template <class Losses> at::Tensor add_rows(size_t k, bool everyones, double scale, double weight, const Losses& losses_of) {
    const DomainBatch& domain = batch_.domains[k];
    const training::Part part = everyones ? training::Part{0, domain.ids.size(0)} : domain.own;
    const at::Tensor index = within(domain.features, part).to(gathered_.device());
    const RowLosses of_rows = losses_of(gathered_.index_select(0, index), within(domain.ids, part));
    scale /= static_cast<double>(domain.ids.size(0));
    gradient_.index_add_(0, index, of_rows.gradient, weight * scale);
    return within(of_rows.losses, {domain.own.first - part.first, domain.own.last - part.first}).sum() * scale;
  }

  at::Tensor add_pairs(size_t k, double scale, double weight) {
    const DomainBatch& domain = batch_.domains[k];
    const int64_t count = domain.paired.size(0);
    if (count == 0) return zero_;
    const at::Tensor images = domain.features.index_select(0, domain.paired).to(gathered_.device()), counterparts = domain.counterparts.to(gathered_.device());
    const at::Tensor own = domain.paired.ge(domain.own.first).logical_and_(domain.paired.lt(domain.own.last)).to(gathered_.device());
    const bool both = config_.pair_direction == "both";
    scale /= static_cast<double>(count * (both ? 2 : 1));
    const at::Tensor weights = (domain.weights * (static_cast<double>(count) / domain.weights.sum().item<double>())).to(gathered_.options());  // 1 on average
    at::Tensor share = zero_;
    const auto add = [&](const at::Tensor& queries, const at::Tensor& others) {
      const PairLosses losses = pseudo_positive_pairs(rows(gathered_, queries), rows(gathered_, others), weights, config_.pair_temperature);
      gradient_.index_add_(0, queries, losses.queries_gradient, weight * scale);
      gradient_.index_add_(0, others, losses.others_gradient, weight * scale);
      share = share + (losses.losses * own).sum() * scale;
    };
    if (config_.pair_direction != "image-to-counterpart") add(counterparts, images);
    if (config_.pair_direction != "counterpart-to-image") add(images, counterparts);
    return share;
  }

  /// [n_own, D]: a rank's rows lie together.
  at::Tensor own_gradient() const {
    int64_t count = 0;
    for (const DomainBatch& domain : batch_.domains) {
      count += domain.own.size() + domain.paired.ge(domain.own.first).logical_and_(domain.paired.lt(domain.own.last)).sum().item<int64_t>();
    }
    const DomainBatch& first = batch_.domains[0];
    return gradient_.narrow(0, first.features[first.own.first].item<int64_t>(), count);
  }

 private:
  const TrainConfig& config_;
  const GlobalBatch& batch_;
  const at::Tensor& gathered_;
  at::Tensor gradient_, zero_;
};

}  // namespace

Directions matching_directions(const TrainConfig& config, const std::vector<std::string>& domains) {
  Directions all, chosen;
  std::vector<std::string> names;
  for (size_t k = 0; k < domains.size(); ++k) {
    for (size_t l = 0; l < domains.size(); ++l) {
      if (k == l) continue;
      all.emplace_back(k, l);
      names.push_back(domains[k] + "->" + domains[l]);
    }
  }
  for (const std::string& wanted : config.matching_directions) {
    const auto found = std::find(names.begin(), names.end(), wanted);
    if (found == names.end()) throw core::UsageError("train.matching_directions: no direction \"{}\". There are {}.", wanted, fmt::join(names, ", "));
    chosen.push_back(all[static_cast<size_t>(found - names.begin())]);
  }
  return config.matching_directions.empty() ? all : chosen;
}

LossShare loss_share(const TrainConfig& config, const GlobalBatch& batch, const at::Tensor& gathered, const std::vector<MemoryBank>& banks,
                     const Directions& matching) {
  const at::NoGradGuard no_gradient;
  const size_t domains = batch.domains.size();
  SYNCDR_ASSERT(domains == banks.size() && domains > 1, "{} domains, {} memory banks", domains, banks.size());
  const auto temperature = [&](double own) { return own > 0 ? own : config.temperature; };
  const double n = static_cast<double>(domains);
  Sum sum(config, batch, gathered);
  at::Tensor instance = gathered.new_zeros({}), matched = instance, pairs = instance;
  for (size_t k = 0; k < domains; ++k) {
    instance = instance + sum.add_rows(k, banks[k].world() != nullptr, 1 / n, config.instance_weight, [&](const at::Tensor& features, const at::Tensor& ids) {
      return instance_discrimination(features, banks[k], ids, temperature(config.instance_temperature));
    });
    pairs = pairs + sum.add_pairs(k, 2 / n, config.pair_weight);
  }
  for (const auto& [k, other] : matching) {
    matched =
        matched + sum.add_rows(k, banks[other].world() != nullptr, 1 / (n - 1), config.matching_weight, [&](const at::Tensor& features, const at::Tensor&) {
          return cross_domain_matching(features, banks[other], temperature(config.matching_temperature), config.matching_top);
        });
  }
  const at::Tensor whole = config.instance_weight * instance + config.matching_weight * matched + config.pair_weight * pairs;
  return {sum.own_gradient(), at::stack({whole, instance, matched, pairs})};
}

}  // namespace syncdr::retrieval
