#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "syncdr/diffusion/pipeline.h"
#include "syncdr/diffusion/vision_encoder.h"
#include "syncdr/diffusion/word_mapper.h"

/// ELITE (Wei et al., ICCV 2023), its global mapping: an image becomes words of a prompt. Its local mapping is not here.
namespace syncdr::diffusion {

struct EliteFiles {
  std::filesystem::path image_encoder;  ///< folder of a CLIPVisionModel or CLIPModel
  std::filesystem::path mapper;         ///< load_word_mapper's
};

/// Reads what shows without reading the large networks, and throws as Elite's constructor would.
void check_elite_files(const CheckpointFolder& checkpoint, const EliteFiles& files);

/// The position among encode()'s ids of the word S of a text (subject_place), which vectors are to take. Throws DataError if it lies behind the last one.
int64_t subject_position(const Tokenizer& tokenizer, const std::string& text, int64_t vectors);

/// Image encoder and mapper beside a checkpoint's networks. They compute in float32, whatever those do. May be called from several threads.
class Elite {
 public:
  /// Networks that the last one made of the same files still holds are shared, not read again. Throws DataError.
  Elite(StableDiffusion& model, const CheckpointFolder& checkpoint, const EliteFiles& files);

  /// images [B, 3, S, S], of clip_pixels with side() -> [B, 5, D] float32, the mapper's words
  at::Tensor words_of(const at::Tensor& images);
  int64_t side() const;
  /// Texts whose word S stands for the words [B, n, D] of their row: [B, L, D] with keys and values by the mapper's projections.
  TextContext encode_text(const std::vector<std::string>& texts, const at::Tensor& words);
  /// A text without such a word, by the same projections.
  TextContext encode_text(const std::string& text);
  /// The end of a text that there is no room for where n words take the place of S; empty: there is room for all.
  std::string cut_from(const std::string& text, int64_t words) const;
  /// XXH3-128 over the parameters of both networks.
  std::string hash() const;

 private:
  struct Networks;
  static std::shared_ptr<Networks> networks_of(const CheckpointFolder& checkpoint, const EliteFiles& files, c10::Device device);

  StableDiffusion& model_;
  std::shared_ptr<Networks> networks_;
  std::vector<TextProjection> projections_;
};

}  // namespace syncdr::diffusion
