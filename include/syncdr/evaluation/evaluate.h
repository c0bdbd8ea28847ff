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

/// What is measured on which images. "syncdr": images held out from training, as SynCDR measures (Mishra et al., arXiv 2401.00420). "ucdir": the training
/// images themselves, whose labels training has not read, as UCDIR and its followers do (Hu and Lee, "Feature representation learning for unsupervised
/// cross-domain image retrieval", ECCV 2022). A query is never in its gallery, which is of another domain.
struct EvaluateConfig {
  std::vector<int64_t> cutoffs = {1, 5, 15};
  std::vector<int64_t> further_cutoffs = {50, 100, 200};
  std::vector<int64_t> recall = {1, 5, 10};
  bool mean_average_precision = true;
  std::string protocol = "syncdr";
  std::string gallery = "all";
  int64_t batch = 64;
  int64_t resamples = 1000;
  int64_t tsne_points = 800;

  void visit(core::Fields& field) {
    const core::Range places = core::between(1, 10000);
    field(cutoffs, "cutoffs", "the k of Prec@k that tables begin with", places);
    field(further_cutoffs, "further_cutoffs", "further k of Prec@k", places);
    field(recall, "recall", "the k of Recall@k: how many queries have a right image among k", places);
    field(mean_average_precision, "mean_average_precision", "also mAP@All");
    field(protocol, "protocol", "syncdr: on images held out from training; ucdir: on the training images themselves", {"syncdr", "ucdir"});
    field(gallery, "gallery", "all: every image of the split; shared: without categories that no query has, so that category sets are closed",
          {"all", "shared"});
    field(batch, "batch", "images a GPU embeds in one call; on a CPU it is 32", core::at_least(1));
    field(resamples, "resamples", "bootstrap resamples of the 95 % intervals", core::at_least(100));
    field(tsne_points, "tsne_points", "training images on each of the report's two maps of features; 0: no maps", core::between(0, 2000));
  }

  /// The split that the protocol measures on: "test" or "train".
  std::string split() const { return protocol == "ucdir" ? "train" : "test"; }
  /// All that is asked for. Throws UsageError if there are no cutoffs, or a k is there twice.
  std::vector<Measure> measures() const;
};

/// Features of all images of a list, on the CPU: [N, D] float on rank 0 (large ones in a scratch file, io/scratch.h), undefined elsewhere. The encoder is put
/// into evaluation mode for it and left in the mode it was in; no gradient is kept. batch: images a GPU embeds in one call. Ranks share whole calls, in
/// contiguous parts, so that on CPUs of one kind the bits depend on the encoder and the list alone (retrieval/features.h): not on the number of ranks or
/// threads, and not on where a call ends. Throws DataError on a broken image.
at::Tensor embed(comm::World& world, retrieval::Encoder& encoder, const data::ShardList& list, const data::AugmentConfig& views, int64_t batch,
                 retrieval::PooledFeatures* pooled = nullptr);

/// One direction: queries of one domain against the gallery of another.
struct DirectionScores {
  std::string query_domain, gallery_domain;
  std::map<Measure, Estimate> figures;
  at::Tensor nearest;  ///< [Q, min(15, N)] int64 rows of the gallery's list, for the report
  int64_t queries = 0, gallery = 0;
  /// How the categories of queries and gallery lie: "closed" (the same), "partial" (one side has all of the other's), "open" (each side has some of its own).
  std::string category_set;
  int64_t shared_categories = 0;
  int64_t unanswerable = 0;  ///< queries whose category the gallery lacks: no figure counts them
};

/// Queries of categories that training images show, or do not. Galleries stay whole.
struct CategoryGroup {
  /// "seen" (of a direction's two domains, at least one has training images of the category), "unseen"; and of the seen "seen_in_both",
  /// "seen_in_query_domain" and "seen_in_gallery_domain" (there alone).
  std::string name;
  std::vector<int64_t> queries;      ///< in each direction
  std::map<Measure, Estimate> mean;  ///< over the directions that have some: cutoffs and mAP
};

struct Evaluation {
  std::vector<DirectionScores> directions;            ///< all ordered pairs of domains: of a, b, c those from a (to b, to c), then from b, then from c
  std::map<Measure, Estimate> mean;                   ///< of all directions' figures
  HitsByMeasure hits;                                 ///< what these figures are of, for comparisons of arms
  std::vector<int64_t> cutoffs;                       ///< the k of Prec@k that tables begin with; empty: all
  std::string protocol = "syncdr";                    ///< of EvaluateConfig
  std::vector<CategoryGroup> groups;                  ///< those that have queries; none: not every training image has a label
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

/// The categories of a split's images, [N] int64. Throws DataError if there are no images, one has no label, or one is there twice.
at::Tensor labels_of(const data::ShardList& list, const std::string& domain, const std::string& split);

/// All ordered pairs of domains on a split. The figures are rank 0's; other ranks return an empty Evaluation. Throws as config.measures(), and on
/// every rank an Error with the code bad_data if a split is empty, an image has no label or is there twice, two domains share no category or a feature is
/// not finite.
Evaluation evaluate(comm::World& world, retrieval::Encoder& encoder, const EvaluationData& data, const EvaluateConfig& config);

}  // namespace syncdr::evaluation
