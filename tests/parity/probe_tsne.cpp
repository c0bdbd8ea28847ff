#include <ATen/ops/scalar_tensor.h>

#include "probe.h"
#include "syncdr/evaluation/tsne.h"

using namespace syncdr;

SYNCDR_PROBE(tsne, "features [N, D] -> places [N, 2], divergence [] double: perplexity 30, 1,000 steps") {
  const auto found = evaluation::tsne(in.at("features"));
  return {{"places", found.places}, {"divergence", at::scalar_tensor(found.divergence, at::kDouble)}};
}
