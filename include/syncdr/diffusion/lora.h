#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "syncdr/diffusion/checkpoint.h"

/// Files of low-rank additions to a checkpoint's weights (LoRA, Hu et al., ICLR 2022): W + scale * (alpha / rank) * up down, for linear layers and
/// convolutions of the UNet and of the text encoder. Layers and tensors may be named as peft, diffusers (also before it used peft) and kohya's scripts name
/// them, the last also with the numbers of blocks of Stable Diffusion's authors.
///
/// A layer's alpha is that of its own tensor, else what the header's metadata says (diffusers' lora_adapter_metadata), else adapter_config.json beside
/// a file of peft, else the rank. diffusers gives all attention layers of a file of kohya's the alpha that occurs most often in it: the log says where a file
/// is read otherwise here.
namespace syncdr::diffusion {

struct LoraFile {
  std::filesystem::path file;
  double scale = 1;
};

/// An addition of `factor` times up down to one weight.
struct LowRank {
  at::Tensor down;  ///< [rank, in], of a convolution [rank, in * h * w]
  at::Tensor up;    ///< [out, rank]
  double factor;
};
using LowRankSums = std::map<std::string, std::vector<LowRank>>;  ///< by the weight's name

struct LoraSums {
  LowRankSums unet, text_encoder;
};

/// Reads the files, whose additions follow each other. Throws DataError naming file and tensors: no safetensors file (a pickle: how to convert it), names
/// that fit nothing here, half a pair, shapes that do not fit, values that are not finite, metadata that says something else than the tensors.
LoraSums read_lora(const std::vector<LoraFile>& files, const CheckpointFolder& checkpoint);

/// Throws what read_lora() would, as far as the files' headers show it. checkpoint: null where it is not there yet.
void check_lora(const std::vector<LoraFile>& files, const CheckpointFolder* checkpoint);

/// Adds to weights, in float32; those that change then have the dtype. Each is in memory once.
void add_lora(io::NamedTensors& weights, LowRankSums sums, c10::ScalarType dtype);

/// The file's name, its scale and the XXH3-128 of what it adds: of its content, and of the alphas that lie beside it.
std::string provenance_of(const LoraFile& lora);

/// Writes a file that diffusers' load_lora_weights and read_lora() take with a scale of 1. unet: MODULE.lora_A.weight [rank, in] and MODULE.lora_B.weight
/// [out, rank] of attention projections, all of one rank.
void save_lora(const std::filesystem::path& file, const io::NamedTensors& unet, int64_t rank);

}  // namespace syncdr::diffusion
