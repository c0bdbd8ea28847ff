#include "lora.h"

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/io/hash.h"

namespace syncdr::fit {
namespace {

bool is_attention_projection(const std::string& name) {
  for (const char* end : {".to_q", ".to_k", ".to_v", ".to_out.0"}) {
    if (name.ends_with(end)) return true;
  }
  return false;
}

/// Names of parameters must not hold the dots of module names.
std::string parameter_name(std::string module, const char* which) {
  std::replace(module.begin(), module.end(), '.', '_');
  return module + which;
}

at::Tensor gaussian(int64_t rank, int64_t in, const std::string& name, uint64_t seed) {
  at::Tensor values = at::empty({rank, in}, at::kFloat);
  core::Random random(seed, core::Purpose::weights, io::hash64("lora." + name));
  random.fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values / static_cast<double>(rank);
}

}  // namespace

Lora::Lora(torch::nn::Module& network, int64_t rank, uint64_t seed) {
  for (const auto& item : network.named_modules()) {
    const auto linear = std::dynamic_pointer_cast<torch::nn::LinearImpl>(item.value());
    if (!linear || !is_attention_projection(item.key())) continue;
    Layer layer{.name = item.key(), .linear = linear, .base = linear->weight};
    const at::TensorOptions options = layer.base.options().requires_grad(false);
    layer.a = register_parameter(parameter_name(item.key(), "_a"), gaussian(rank, layer.base.size(1), item.key(), seed).to(options));
    layer.b = register_parameter(parameter_name(item.key(), "_b"), at::zeros({layer.base.size(0), rank}, options));
    layers_.push_back(std::move(layer));
  }
  if (layers_.empty()) throw core::UsageError("fit.diffusion.lora_rank = {}: this network has no attention projections. Set it to 0", rank);
}

void Lora::put_in() {
  for (Layer& layer : layers_) layer.linear->weight = layer.base + at::matmul(layer.b, layer.a);
}

void Lora::merge() {
  const torch::NoGradGuard no_grad;
  for (Layer& layer : layers_) {
    layer.before = layer.base.detach().clone();
    layer.base.add_(at::matmul(layer.b, layer.a));
    layer.linear->weight = layer.base;
  }
}

void Lora::split() {
  const torch::NoGradGuard no_grad;
  for (Layer& layer : layers_) {
    layer.base.copy_(layer.before);
    layer.before.reset();
  }
}

io::NamedTensors Lora::tensors() const {
  io::NamedTensors tensors;
  for (const Layer& layer : layers_) {
    tensors.emplace(layer.name + ".lora_A.weight", layer.a);
    tensors.emplace(layer.name + ".lora_B.weight", layer.b);
  }
  return tensors;
}

}  // namespace syncdr::fit
