#pragma once
#include <ATen/core/Tensor.h>

#include "syncdr/evaluation/search.h"

/// What tells a good encoder from a bad one without labels. Features are unit rows.
namespace syncdr::evaluation {

/// Alignment of pairs (Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity on the hypersphere", ICML
/// 2020, with alpha = 2): the mean squared distance of rows of a and b [P, D], 0 to 4. Smaller is better. NaN without a pair.
double alignment(const at::Tensor& a, const at::Tensor& b);

/// Uniformity (the same paper, t = 2): the logarithm of the mean, over all pairs of different rows of features [N, D], of exp(-2 d^2), -8 to 0. Smaller is
/// better: features are spread over the sphere. In tiles, on any device; the same bits for any number of threads. 0 with fewer than two rows.
double uniformity(const at::Tensor& features);

/// Mutual neighbours: the share of queries of both directions whose nearest row of the other domain has them as its own nearest, 0 to 1. Larger is better.
/// Neighbours as top_k() finds them between the two domains; a_to_b [A, >= 1], b_to_a [B, >= 1]. 0 without queries.
double mutual_share(const Neighbours& a_to_b, const Neighbours& b_to_a);

}  // namespace syncdr::evaluation
