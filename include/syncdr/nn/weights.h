#pragma once
#include <string>

#include "syncdr/io/safetensors.h"

namespace torch::nn {
class Module;
}

namespace syncdr::nn {

/// All parameters and buffers by dotted name ("layer1.0.conv1.weight"), as they are (not copied).
io::NamedTensors state_of(const torch::nn::Module& module);

/// Copies every tensor into the module's parameter or buffer of the same name. Strict: throws DataError naming `where` and the tensor if one is
/// missing, left over, or has another shape. dtypes are converted. Call it with gradients off or on, on any device.
void load_state(torch::nn::Module& module, const io::NamedTensors& tensors, const std::string& where);

/// load_state() for tensors that nobody else keeps, on the CPU: those of this dtype become the module's as they are, others are converted one at a time, with
/// four dimensions to the channels-last layout. So no weight lies in memory twice.
void adopt_state(torch::nn::Module& module, io::NamedTensors tensors, const std::string& where, c10::ScalarType dtype);

/// Convolutions' weights in channels-last layout: tensor cores, and oneDNN's blocked kernels, take them without reordering each activation.
void make_channels_last(torch::nn::Module& module);

/// The number of parameters.
int64_t parameter_count(const torch::nn::Module& module);

/// XXH3-128 over names, shapes and bytes of the state: a model's identity in provenance.
std::string state_hash(const torch::nn::Module& module);

}  // namespace syncdr::nn
