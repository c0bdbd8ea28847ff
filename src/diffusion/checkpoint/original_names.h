#pragma once
#include <string>

#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/unet.h"

/// Where the tensors of our networks, which have diffusers' names, lie in an original file: names behind the part's prefix.
namespace syncdr::diffusion {

std::string original_name(const UNetConfig& config, const std::string& name);
std::string original_name(const AutoencoderConfig& config, const std::string& name);

/// OpenCLIP keeps the projections of queries, keys and values as the three thirds of one tensor.
struct OpenClipName {
  std::string name;
  int64_t third = -1;  ///< -1: the whole tensor
};
OpenClipName open_clip_name(const std::string& name);

}  // namespace syncdr::diffusion
