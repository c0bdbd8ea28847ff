#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "syncdr/diffusion/text_context.h"
#include "syncdr/diffusion/unet.h"

namespace syncdr::diffusion {

class DenseImpl;
class MappingNetwork;

/// ELITE's global mapper; the defaults are the published one's.
struct WordMapperConfig {
  int64_t image_width = 1024;  ///< of the image encoder's hidden states
  int64_t hidden = 1024;       ///< of the mapping networks
  int64_t width = 768;         ///< D, of the words
  /// Which hidden state (VisionEncoder::forward) each of the five words is made of; -1: the last.
  std::vector<int64_t> states{-1, 4, 8, 12, 16};
  /// The UNet's attentions that it has projections of words for (cross_attentions).
  std::vector<TextAttention> attentions;
};

/// Makes words of an image, and keys and values of texts that hold such words (ELITE, Wei et al., ICCV 2023, the global mapping). A word is the sum of a
/// mapping of the class token and the mean of another mapping of each patch token; a mapping is Linear-LayerNorm-LeakyReLU twice, then Linear. The
/// projections serve the UNet's cross-attentions in place of its own, for all texts. Parameters are named as in the published file. Made of a
/// configuration, it has no values yet, as the UNet.
class WordMapperImpl : public torch::nn::Module {
 public:
  explicit WordMapperImpl(const WordMapperConfig& config);

  /// All hidden states [B, P, image_width] of images -> [B, 5, D]. Throws UsageError if one is not there.
  at::Tensor forward(const std::vector<at::Tensor>& states);
  /// For UNet::prepare, in this dtype: those of each of its attentions. They are the parameters themselves where the dtype is theirs.
  std::vector<TextProjection> projections(at::ScalarType dtype) const;
  const WordMapperConfig& config() const { return config_; }

 private:
  WordMapperConfig config_;
  std::vector<std::shared_ptr<MappingNetwork>> of_class_, of_patches_;
  std::vector<std::shared_ptr<DenseImpl>> keys_, values_;
};
TORCH_MODULE(WordMapper);

/// The attentions of a UNet that ELITE has projections for: all that read text, since a UNet whose self-attention does (only_cross_attention) is refused with
/// UsageError.
std::vector<TextAttention> cross_attentions(const UNetConfig& unet);

/// Metadata of a mapper's file: nn::state_hash of the image encoder that it was trained with.
inline constexpr const char* image_encoder_key = "syncdr.image_encoder";

/// What a mapper must fit.
struct MapperSurroundings {
  std::string image_encoder;  ///< its folder, for errors
  int64_t image_width = 0;    ///< of its hidden states
  int64_t image_layers = 0;
  std::string checkpoint;  ///< the folder of UNet and text encoder, for errors
  int64_t text_width = 0;
  std::vector<TextAttention> attentions;
};

/// A mapper's file: of `syncdr fit elite-mapper`, or what `syncdr-data convert --as elite` makes of a published one. In float32 on the CPU, for evaluation.
/// Its sizes follow from the tensors' shapes; which hidden states it reads stands in the metadata "syncdr.states", without which it is the published one's.
/// Throws DataError naming file and tensor, or what does not fit.
/// trained_with: gets what the file says under image_encoder_key; empty: nothing.
WordMapper load_word_mapper(const std::filesystem::path& file, const MapperSurroundings& surroundings, std::string* trained_with = nullptr);
/// Writes such a file, in float32. more: further metadata.
void save_word_mapper(const std::filesystem::path& file, const WordMapper& mapper, const std::map<std::string, std::string>& more = {});

}  // namespace syncdr::diffusion
