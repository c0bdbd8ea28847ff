#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace syncdr::search {

/// The text side of a CLIP (Radford et al., ICML 2021), which puts texts where its image side puts pictures. It is read from the weights file of the whole
/// model, as open_clip or transformers write it; pictures go through encoders::Backbone.
class TextTower {
 public:
  /// weights: the safetensors file. tokenizer: the folder of CLIP's vocabulary (diffusion/tokenizer.h). encoder: the row of encoders::backbones() that the file
  /// is for. What names of tensors do not tell, the number of heads and the activation, is read from config.json or open_clip_config.json beside the weights,
  /// where one is there; otherwise heads have 64 features, and the activation is the encoder's. Throws DataError: the file has no text side, or one of another
  /// family than CLIP's; the vocabulary is missing or another one.
  TextTower(const std::filesystem::path& weights, const std::filesystem::path& tokenizer, const std::string& encoder);
  ~TextTower();
  TextTower(TextTower&& other) noexcept;

  int64_t dim() const;
  /// Features [n, dim()] of texts, unit rows, float on the CPU. A text that is too long is cut, with a warning. Throws DataError if it is empty.
  at::Tensor features(const std::vector<std::string>& texts);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace syncdr::search
