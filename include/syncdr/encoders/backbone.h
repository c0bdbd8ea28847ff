#pragma once
#include <torch/nn/module.h>

#include <string>
#include <vector>

#include "syncdr/encoders/table.h"
#include "syncdr/io/safetensors.h"

namespace syncdr::encoders {

/// A pretrained network up to and with its pooling. Parameters and buffers carry timm's names, CLIP's residual network open_clip's, without a prefix
/// ("conv1.weight", "blocks.0.attn.qkv.weight").
class Backbone : public torch::nn::Module {
 public:
  /// [B, 3, H, W] float, normalised as its row says -> [B, features()].
  virtual at::Tensor forward(const at::Tensor& images) = 0;
  virtual int64_t features() const = 0;

  /// Its layers from the input to the output, each a list of prefixes of parameters' names; each parameter is in one of them. For training some layers
  /// alone, and for rates that fall towards the input.
  virtual std::vector<std::vector<std::string>> layers() const = 0;

  /// Whether it takes images of this side.
  virtual bool takes(int64_t side) const { return side > 0; }

  /// What a weights file holds, without wrappers' prefixes -> the same under the network's own names: other libraries' names translated, the classifier
  /// dropped by name, position embeddings resampled to its size. A name that it does not know stays as it is, so that load_backbone refuses it. Throws
  /// DataError naming `where` on a shape that it cannot take apart.
  virtual io::NamedTensors own_names(io::NamedTensors file, const std::string& where) const = 0;
};

/// Initial parameters, a function of (seed, prefix + name) alone: He's normal distribution by fan-out for convolutions, a normal one with deviation 0.02
/// for all else of two or more dimensions; biases are zero, and other vectors stay as they were made.
void initialise(Backbone& backbone, const std::string& prefix, uint64_t seed);

/// Copies a weights file's tensors into the backbone: timm's, torchvision's, open_clip's or transformers', names unchanged. Prefixes that wrappers add
/// ("module.", "visual.", ...) are taken off, the text side of a CLIP and the classifier are dropped, all by name. Batch norms' counters may be missing, as in
/// files of before PyTorch 0.4.1; they then stay. Every other tensor is accounted for: throws DataError naming `where` and what is missing or left over.
void load_backbone(Backbone& backbone, io::NamedTensors file, const std::string& where);

}  // namespace syncdr::encoders
