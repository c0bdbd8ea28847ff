#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <span>

#include "syncdr/translate/config.h"

namespace syncdr::translate {

/// What one output image is a function of, besides its input's pixels and the model. Noise is drawn from
/// core::Random(seed, Purpose::noise, key_hash, variant, step), never from a generator that other images have used.
struct Request {
  uint64_t seed = 0;
  uint64_t key_hash = 0;  ///< io::hash64 of the source image's key
  int32_t variant = 0;    ///< 0 .. variants - 1; a redraw uses variant + variants
  std::string prompt;     ///< the text that asks for the target's look; empty for translators that take none
};

struct Translated {
  at::Tensor images;  ///< [batch, 3, size, size] uint8, contiguous, on the CPU
  at::Tensor finite;  ///< [batch] bool on the CPU: the model gave neither NaN nor infinity; elsewhere the pixels mean nothing
};

/// Turns images of one domain into the look of another. An image's output depends on its own pixels and its Request alone: not on its place in
/// the batch, its neighbours, or the number of ranks. The engine always calls with `batch()` images (padding the last call).
class Translator {
 public:
  virtual ~Translator() = default;
  virtual int64_t batch() const = 0;
  /// Side of the square images it takes and gives.
  virtual int64_t size() const = 0;
  /// As TranslatorRow's `random` and `prompt`.
  virtual bool is_random() const { return false; }
  virtual std::optional<diffusion::PromptKind> prompt_kind() const { return std::nullopt; }
  /// Whether it takes a mask with each image: config.elite.masks.
  virtual bool takes_masks() const { return false; }
  /// The end of a text that the model has no room for; empty: there is room for all.
  virtual std::string cut_from(const std::string& /*text*/) const { return {}; }
  /// images [batch, 3, size, size] uint8 on the CPU, requests [batch]. With masks there is a fourth channel: 255 where the object is, else 0.
  virtual Translated translate(const at::Tensor& images, std::span<const Request> requests) = 0;
  /// What made the output: translator, model hash, all settings. Written into every shard; another value never mixes with it in one run.
  virtual std::map<std::string, std::string> provenance() const = 0;
};

/// A domain's text in config.prompts. Throws UsageError if that is not set, DataError naming file, domain and key.
std::string domain_prompt(const TranslateConfig& config, const std::string& domain, diffusion::PromptKind kind);

/// Whether the translator that config names needs texts of domains, and config.prompts is not set: throws the same UsageError then.
void check_prompts_set(const TranslateConfig& config);

/// Says, on rank 0, that the model has no room for the end of a text, if there is one.
void say_cut(const std::string& text, const std::string& cut);

/// [B, 3, H, W] floating point in [-1, 1] -> their bytes (nn::to_bytes), and which images were finite.
Translated to_bytes(const at::Tensor& images);

/// The one that config.translator names. Throws also UsageError if the table has none of this name.
MakeTranslator make_translator;

}  // namespace syncdr::translate
