#pragma once
#include "global_batch.h"
#include "syncdr/retrieval/losses.h"
#include "syncdr/retrieval/trainer.h"

namespace syncdr::retrieval {

/// A rank's share of a global batch's loss.
struct LossShare {
  at::Tensor backward;  ///< scalar, differentiable: backpropagated on every rank and summed, it gives the gradient of the global loss
  at::Tensor values;    ///< [4] constant: the loss, then instance, matching and pairs, unweighted; summed over ranks they are the global batch's
};

/// banks: of each domain. gathered [n, D]: features of all ranks' rows in the order of GlobalBatches, with gradients into this rank's own rows
/// only.
///
/// Instance discrimination and matching are means over samples that do not see each other, so each rank computes its own samples' part.
/// Pseudo-positive pairs compare every counterpart with all features of the batch: the gradient of one rank's rows has a term from every
/// rank's pairs. There each rank computes the whole loss, a [P, P] product that is small beside the encoder, and backpropagates it into its
/// own rows: nothing is counted twice.
LossShare loss_share(const TrainConfig& config, const GlobalBatch& batch, const at::Tensor& gathered, const std::vector<MemoryBank>& banks, bool with_matching,
                     int ranks);

}  // namespace syncdr::retrieval
