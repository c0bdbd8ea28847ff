#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/data/augment.h"
#include "syncdr/data/dataset.h"
#include "syncdr/evaluation/bootstrap.h"
#include "syncdr/retrieval/features.h"

namespace syncdr::evaluation {

struct EvaluateConfig {
  std::vector<int64_t> cutoffs = {1, 5, 15};
  int64_t batch = 64;
  int64_t resamples = 1000;
  bool mean_average_precision = false;

  void visit(core::Fields& field) {
    field(cutoffs, "cutoffs", "the k of Prec@k", core::at_least(1));
    field(batch, "batch", "images a GPU embeds in one call; on a CPU it is 32", core::at_least(1));
    field(resamples, "resamples", "bootstrap resamples of the 95 % intervals", core::at_least(100));
    field(mean_average_precision, "mean_average_precision", "also mAP@All");
  }
};

/// Features of all images of a list, on the CPU: [N, D] float on rank 0, undefined elsewhere. The encoder is put into evaluation
/// mode for it and left in the mode it was in; no gradient is kept. batch: images a GPU embeds in one call. Ranks share whole calls, in contiguous
/// parts, so that on CPUs of one kind the bits depend on the encoder and the list alone (retrieval/features.h): not on the number of ranks or
/// threads, and not on where a call ends. Throws DataError on a broken image.
at::Tensor embed(comm::World& world, retrieval::Encoder& encoder, const data::ShardList& list, const data::AugmentConfig& views, int64_t batch,
                 retrieval::PooledFeatures* pooled = nullptr);

/// One direction: queries of one domain against the gallery of another.
struct DirectionScores {
  std::string query_domain, gallery_domain;
  std::map<int64_t, Estimate> precision;  ///< by k
  double mean_average_precision = -1;     ///< -1: not asked for
  at::Tensor nearest;                     ///< [Q, min(15, N)] int64 rows of the gallery, for the report
  int64_t queries = 0, gallery = 0;
};

struct Evaluation {
  std::vector<DirectionScores> directions;            ///< all ordered pairs of domains: of a, b, c those from a (to b, to c), then from b, then from c
  std::map<int64_t, Estimate> mean;                   ///< of all directions' Prec@k, by k
  HitsByCutoff hits;                                  ///< what these figures are of, for comparisons of arms
  std::vector<std::string> collapsed;                 ///< domains whose features are nearly all the same
  int64_t categories = 0;                             ///< that queries and gallery share, in the direction that has the fewest
  Unit unit() const { return unit_for(categories); }  ///< what the intervals draw
};

/// The images that retrieval is measured on.
struct EvaluationData {
  const data::Dataset& dataset;
  std::vector<std::string> domains;  ///< two or more
  std::string split;
  data::AugmentConfig views;  ///< whose evaluation view encoders see
  uint64_t seed = 0;          ///< of the intervals' resamples
  std::string centre;         ///< a split whose mean feature is taken off each domain's features, which then get unit length again; empty: none
  retrieval::PooledFeatures* pooled = nullptr;  ///< keeps what a backbone that stays has made of the images, for the next time; null: nothing is kept
};

/// The categories of a split's images, [N] int64. Throws DataError if there are no images, or one has no label.
at::Tensor labels_of(const data::ShardList& list, const std::string& domain, const std::string& split);

/// All ordered pairs of domains on a split. The figures are rank 0's; other ranks return an empty Evaluation. Throws UsageError without cutoffs, and on
/// every rank an Error with the code bad_data if a split is empty, an image has no label, two domains share no category or a feature is not finite.
Evaluation evaluate(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const EvaluateConfig& config);

}  // namespace syncdr::evaluation
