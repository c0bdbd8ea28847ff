#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/data/augment.h"
#include "syncdr/data/dataset.h"

namespace syncdr::retrieval {
class Encoder;
}

/// Retention: whether translations keep what their sources show, as an encoder sees it. A translation should find its own source among all sources, and
/// the source its translation among those of all sources. It needs no labels.
namespace syncdr::evaluation {

/// Ranks of one direction's pairs, from 1, in the order of top_k(); 0: there is no such translation. [source rows N, variants K] int64 on the CPU.
struct PairRanks {
  at::Tensor source;       ///< where the source stands among all N sources, when its translation looks for it
  at::Tensor translation;  ///< where the translation stands among the translations of its variant, when its source looks for it

  int64_t pairs() const;
  /// The share of the other images that come before the own one, mean of both ways, [N, K] float: 0 is best, 0.5 chance; 1 where there is no translation.
  at::Tensor share_before() const;
  /// What a pair counts in a training: half / (half + share_before()), [N, K] double. 1 where both find each other first, 1/2 where the share is `half`, above
  /// 0; 0 where there is no translation.
  at::Tensor weights(double half) const;
};

/// How often the own one is found first, and its mean reciprocal rank, either way; 0 without a pair.
struct RetentionFigures {
  double source_at_1 = 0, source_reciprocal_rank = 0, translation_at_1 = 0, translation_reciprocal_rank = 0;
  int64_t pairs = 0;
};
RetentionFigures figures_of(const PairRanks& ranks);

/// sources [N, D], translations [M, D] unit rows; table [N, K] int64: a source's row of the translations for each variant, -1: none. Each variant's
/// translations are a gallery of their own, so that figures do not depend on K.
PairRanks pair_ranks(const at::Tensor& sources, const at::Tensor& translations, const at::Tensor& table);

/// A translation, the image it was made from (rows of their lists), and how well it is kept.
struct JudgedPair {
  int64_t source, translation, source_rank, translation_rank;
};
/// The pairs of which the fewest, and the most, other images come before the own one (PairRanks::share_before): best first, and worst first; `count` of each,
/// none in both. Equal ones are taken evenly from the list. Throws DataError if the lists do not belong together.
struct Extremes {
  std::vector<JudgedPair> best, worst;
};
Extremes extremes_of(const PairRanks& ranks, const data::ShardList& sources, const data::ShardList& translations, int64_t count);

/// Ranks of one direction of a translated set of training images, by an encoder on the world's device. Ranks share the embedding as in embed(); the result
/// is rank 0's, undefined tensors elsewhere. Throws DataError if the translation is missing, broken, or of other images than the dataset has.
PairRanks measure_retention(comm::World& world, retrieval::Encoder& encoder, const data::Dataset& dataset, const std::string& source, const std::string& target,
                            const std::string& run, const data::AugmentConfig& views, int64_t batch);

}  // namespace syncdr::evaluation
