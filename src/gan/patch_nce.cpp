#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>

#include <cmath>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/gan/cut.h"
#include "syncdr/io/hash.h"

namespace syncdr::gan {

PatchProjectionImpl::PatchProjectionImpl(const std::vector<int64_t>& channels, int64_t dim) {
  using namespace torch::nn;
  for (size_t i = 0; i < channels.size(); ++i)
    heads_.push_back(register_module(fmt::format("mlp_{}", i), Sequential(Linear(channels[i], dim), ReLU(), Linear(dim, dim))));
}

std::vector<at::Tensor> PatchProjectionImpl::forward(const std::vector<at::Tensor>& features, const std::vector<at::Tensor>& locations) {
  SYNCDR_ASSERT(features.size() == heads_.size() && locations.size() == heads_.size(), "{} features and {} lists of locations for {} heads", features.size(),
                locations.size(), heads_.size());
  std::vector<at::Tensor> projected;
  for (size_t i = 0; i < heads_.size(); ++i) {
    // [B, C, h, w] -> [B, h*w, C] is a view of channels-last memory; only P of its rows go through the head.
    const at::Tensor rows = features[i].permute({0, 2, 3, 1}).flatten(1, 2).index_select(1, locations[i]);
    const at::Tensor values = heads_[i]->forward(rows);
    projected.push_back(values / (values.norm(2, -1, true) + 1e-7));
  }
  return projected;
}

at::Tensor patch_nce(const at::Tensor& query, const at::Tensor& key, double temperature) {
  SYNCDR_ASSERT(query.dim() == 3 && query.sizes() == key.sizes(), "query [{}] and key [{}]", fmt::join(query.sizes(), ", "), fmt::join(key.sizes(), ", "));
  const at::Tensor logits = at::bmm(query, key.detach().transpose(1, 2)) / temperature;  // [B, P, P]
  return (logits.logsumexp(2) - logits.diagonal(0, 1, 2)).mean();
}

at::Tensor lsgan(const at::Tensor& scores, bool real) { return (scores - (real ? 1.0 : 0.0)).square().mean(); }

void initialise(torch::nn::Module& module, const std::string& prefix, uint64_t seed, double gain) {
  torch::NoGradGuard no_grad;
  for (auto& item : module.named_parameters()) {
    at::Tensor& parameter = item.value();
    if (parameter.dim() < 2) {
      parameter.zero_();
      continue;
    }
    const auto fans = static_cast<double>(parameter[0].numel() + parameter.size(0) * parameter[0][0].numel());  // in + out
    at::Tensor values = at::empty(parameter.sizes(), at::kFloat);
    core::Random random(seed, core::Purpose::weights, io::hash64(prefix + "." + item.key()));
    random.fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
    parameter.copy_(values * (gain * std::sqrt(2.0 / fans)));
  }
}

}  // namespace syncdr::gan
