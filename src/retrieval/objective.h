#pragma once
#include "global_batch.h"
#include "syncdr/retrieval/losses.h"
#include "syncdr/retrieval/trainer.h"

namespace syncdr::retrieval {

/// A global batch's loss.
struct LossShare {
  at::Tensor gradient;  ///< [n_own, D] constant: of the whole global loss with respect to this rank's rows, in the order of GlobalBatches::load
  at::Tensor values;    ///< [4] constant: the loss, then instance, matching and pairs, unweighted; summed over ranks they are the global batch's
};

/// Which domain's features look into which other domain's bank: (k, l).
using Directions = std::vector<std::pair<size_t, size_t>>;

/// Those of config.matching_directions between the named domains. Throws UsageError.
Directions matching_directions(const TrainConfig& config, const std::vector<std::string>& domains);

/// gathered [n, D]: features of all ranks' rows in the order of GlobalBatches, constant. banks: of each domain. matching: empty before it sets in.
///
/// L_ID = 1/n sum_k CE, L_CDM = 1/(n-1) sum over directions of the mean entropy, L_PPP = 2/n sum_k CE, for n domains; of pairs
/// each counts by its weight, their mean is the sum divided by that of weights. To be backpropagated as
/// (features * gradient).sum() on every rank, gradients of parameters summed over ranks.
///
/// Instance discrimination and matching are means over samples that do not see each other: with replicated banks each rank computes its own samples'
/// part, with sharded ones all ranks compute all samples' together (a collective). Pseudo-positive pairs compare every counterpart with all features
/// of the batch, a [P, P] product that is small beside the encoder: every rank computes the whole.
LossShare loss_share(const TrainConfig& config, const GlobalBatch& batch, const at::Tensor& gathered, const std::vector<MemoryBank>& banks,
                     const Directions& matching);

}  // namespace syncdr::retrieval
