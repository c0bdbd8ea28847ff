#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>

#include <memory>
#include <string>
#include <vector>

#include "syncdr/io/safetensors.h"

namespace syncdr::fit {

/// Low-rank additions to the attention projections of a network (LoRA, Hu et al., ICLR 2022): each W [out, in] of to_q, to_k, to_v and to_out becomes
/// W + B A with A [rank, in] and B [out, rank], which are this module's parameters. A begins normal with deviation 1 / rank, B with zeros: the network
/// begins as it is.
///
/// The network's own parameters stay what they are; its layers compute with the sums once put_in() has run.
class Lora : public torch::nn::Module {
 public:
  /// Throws UsageError if the network has no attention projections. A's values are a function of (seed, layer's name).
  Lora(torch::nn::Module& network, int64_t rank, uint64_t seed);

  /// Makes the layers compute with W + B A as A and B are now, with gradients to both: to be called before each forward pass.
  void put_in();
  /// Adds B A to the network's parameters, for whoever reads these; split() takes them back to the bit.
  void merge();
  void split();
  /// A and B as "MODULE.lora_A.weight" and "MODULE.lora_B.weight".
  io::NamedTensors tensors() const;

 private:
  struct Layer {
    std::string name;
    std::shared_ptr<torch::nn::LinearImpl> linear;
    at::Tensor base;  // the registered parameter; linear->weight may be a sum
    at::Tensor a, b;
    at::Tensor before;  // the base's values while merged
  };
  std::vector<Layer> layers_;
};

}  // namespace syncdr::fit
