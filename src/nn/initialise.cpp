#include "syncdr/nn/initialise.h"

#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include <cmath>

#include "syncdr/core/philox.h"
#include "syncdr/io/hash.h"

namespace syncdr::nn {
namespace {

constexpr double embedding_deviation = 0.02;

core::Random stream_of(const std::string& name, uint64_t seed) { return {seed, core::Purpose::weights, io::hash64(name)}; }

void set_uniform(at::Tensor& parameter, double bound, core::Random random) {
  if (!parameter.defined()) return;
  at::Tensor values = at::empty(parameter.sizes(), at::kFloat);
  for (float& value : std::span(values.data_ptr<float>(), static_cast<size_t>(values.numel()))) value = static_cast<float>(random.uniform(-bound, bound));
  parameter.copy_(values);
}

void set_normal(at::Tensor& parameter, double deviation, core::Random random) {
  at::Tensor values = at::empty(parameter.sizes(), at::kFloat);
  random.fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  parameter.copy_(values * deviation);
}

/// Of a layer whose weight is [out, in, ...].
template <class Layer> void set_layer(Layer& layer, const std::string& name, uint64_t seed) {
  const double bound = 1 / std::sqrt(static_cast<double>(layer.weight[0].numel()));
  set_uniform(layer.weight, bound, stream_of(name + ".weight", seed));
  set_uniform(layer.bias, bound, stream_of(name + ".bias", seed));
}

}  // namespace

void initialise(torch::nn::Module& module, const std::string& prefix, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  module.apply(
      [&](const std::string& name, torch::nn::Module& part) {
        if (auto* convolution = dynamic_cast<torch::nn::Conv2dImpl*>(&part)) set_layer(*convolution, name, seed);
        if (auto* linear = dynamic_cast<torch::nn::LinearImpl*>(&part)) set_layer(*linear, name, seed);
        if (auto* embedding = dynamic_cast<torch::nn::EmbeddingImpl*>(&part))
          set_normal(embedding->weight, embedding_deviation, stream_of(name + ".weight", seed));
      },
      prefix);
}

}  // namespace syncdr::nn
