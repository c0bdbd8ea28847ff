#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/unet.h"

/// How files of LoRA name layers and tensors.
namespace syncdr::diffusion {

enum class LoraPart { down, up, alpha };

/// A tensor's name, taken apart: the layer as the file names it, and what of its addition the tensor is.
struct LoraName {
  std::string layer;
  LoraPart part;
};
/// Empty: it is none of these.
std::optional<LoraName> lora_name(const std::string& tensor);

/// What else than such a file it may be of which these names are; empty: unknown.
std::string lora_relative(const std::vector<std::string>& names);

/// The weights of both networks that can be added to, by the names of their layers in files.
class LoraTargets {
 public:
  struct Target {
    bool of_text;                ///< it is the text encoder's, else the UNet's
    std::string layer;           ///< its own name, "down_blocks.0.attentions.0.proj_in"
    std::vector<int64_t> shape;  ///< of its weight
  };

  LoraTargets(const UNetConfig& unet, const TextEncoderConfig& text_encoder);
  /// Null: there is none of this name.
  const Target* find(const std::string& layer) const;

 private:
  void add(const Target& target, const std::string& name);

  std::map<std::string, Target> unet_, text_encoder_;
};

}  // namespace syncdr::diffusion
