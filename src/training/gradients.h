#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace syncdr::training {

/// The gradients of those parameters that have one.
inline std::vector<at::Tensor> gradients_of(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : parameters)
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  return gradients;
}

}  // namespace syncdr::training
