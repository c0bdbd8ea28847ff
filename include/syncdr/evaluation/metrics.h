#pragma once
#include <ATen/core/Tensor.h>

#include <compare>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "syncdr/evaluation/search.h"

/// What is measured of a ranking. Everywhere equal scores share their places: each of the rows that have one is as likely to take one of their places as
/// another, whatever the gallery's order (McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
/// scores", ECIR 2008). An encoder that makes one feature of all images so finds what chance finds.
namespace syncdr::evaluation {

struct Measure {
  enum class Kind {
    /// Prec@k: right ones among the first k' = min(k, gallery images of the query's category), as SynCDR and UCDIR publish it (P@50, P@100, P@200 too).
    precision,
    /// Recall@k: whether there is a right one among the first k, as in metric learning (Jegou et al., "Product quantization for nearest neighbor search", PAMI
    /// 2011); not the share of all right ones that is found.
    recall,
    /// Average precision over the whole ranking; its mean over queries is mAP@All.
    average_precision
  };
  Kind kind;
  int64_t k;  ///< 0 of average precision

  /// A number alone stands for Prec@k.
  Measure(int64_t cutoff) : Measure(Kind::precision, cutoff) {}
  Measure(Kind kind_, int64_t k_) : kind(kind_), k(k_) {}
  auto operator<=>(const Measure&) const = default;
};
/// "prec@5", "recall@5", "map".
std::string name_of(const Measure& measure);
/// "Prec@5", "Recall@5", "mAP@All".
std::string title_of(const Measure& measure);

/// Of a query, or of several: what was found (a fraction where equal scores leave open what that is), and what could have been: neighbours of Prec@k; of other
/// measures the query's figure, of 1.
struct Hits {
  double correct = 0;
  int32_t possible = 0;
};

/// What each query of a direction found. Kept per query, so that arms can be compared on the same queries. Queries whose category the gallery lacks are left
/// out.
struct QueryHits {
  std::vector<int32_t> categories;  ///< of the queries, in the order of their list
  std::vector<Hits> hits;
};

struct Found {
  std::map<Measure, QueryHits> hits;
  at::Tensor nearest;  ///< [Q, min(kept, N)] int64 on the CPU: rows of the gallery, in the order of top_k()
};

/// Searches and measures, with as little memory as top_k(). Average precision costs a second pass over all scores.
/// queries [Q, D], gallery [N, D] float on one device; labels [Q], [N] int64 on the CPU; one measure or more. Throws as top_k, and DataError if no query's
/// category is in the gallery.
Found measure(const at::Tensor& queries, const at::Tensor& gallery, const at::Tensor& query_labels, const at::Tensor& gallery_labels,
              std::span<const Measure> measures, int64_t kept);

}  // namespace syncdr::evaluation
