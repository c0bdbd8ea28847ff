#pragma once
#include <ATen/core/Tensor.h>

namespace syncdr::evaluation {

/// Places in the plane, such that what is near among features is near there.
struct Embedding {
  at::Tensor places;      ///< [N, 2] float
  double divergence = 0;  ///< Kullback-Leibler divergence of the neighbourhoods there from those among the features: 0 is best
};

/// Exact t-SNE (van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008), with the constants of scikit-learn's TSNE: it begins with the first
/// two principal components, exaggerates for 250 of `steps` steps, and its learning rate follows N (Belkina et al., Nature Communications 2019). Nothing is
/// random, and the number of threads changes nothing. Time and memory grow with N squared: 2 s for 800.
///
/// features    [N, D] float, N >= 4, on the CPU
/// perplexity  > 0, about how many neighbours count; at most (N - 1) / 3 is taken
/// throws      UsageError if N is below 4, DataError if a feature is not finite
Embedding tsne(const at::Tensor& features, double perplexity = 30, int64_t steps = 1000);

}  // namespace syncdr::evaluation
