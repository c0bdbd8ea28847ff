#pragma once
#include <cstdint>
#include <string>

namespace torch::nn {
class Module;
}

namespace syncdr::nn {

/// Initial parameters for training from scratch, a function of (seed, prefix, parameter's name) alone: PyTorch's own for convolutions and linear layers,
/// weights and biases uniform within 1 / sqrt(fan in); embeddings normal with CLIP's standard deviation of 0.02. Norms stay as they were made,
/// ones and zeros.
/// prefix: tells apart models of one seed.
void initialise(torch::nn::Module& module, const std::string& prefix, uint64_t seed);

}  // namespace syncdr::nn
