#include "filter_translator.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include "syncdr/core/error.h"
#include "syncdr/diffusion/structure_map.h"

namespace syncdr::translate {

Translated FilterTranslator::translate(const at::Tensor& images, std::span<const Request>) {
  SYNCDR_ASSERT(images.dim() == 4 && images.size(0) == batch_ && images.size(3) == size_, "the filter is called with its own batch and size");
  at::Tensor output = at::empty_like(images, at::MemoryFormat::Contiguous);
  const at::Tensor sigma = at::full({1}, config_.sigma, at::kFloat);
  // One image a thread: it stays in the processor's cache through all passes.
  at::parallel_for(0, batch_, 1, [&](int64_t first, int64_t last) {
    for (auto i = first; i < last; ++i) {
      const at::Tensor map = diffusion::structure_map(images.narrow(0, i, 1), sigma);
      output[i].copy_(((map + 1) * 127.5).round_()[0]);
    }
  });
  return {output, at::ones({batch_}, at::kBool)};
}

std::map<std::string, std::string> FilterTranslator::provenance() const {
  return {{"translator", "filter"}, {"size", std::to_string(size_)}, {"sigma", fmt::format("{}", config_.sigma)}, {"device", "cpu"}};
}

}  // namespace syncdr::translate
