#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "syncdr/core/config.h"

namespace syncdr::translate {

/// What one output image is a function of, besides its input's pixels and the model. Noise is drawn from
/// core::Random(seed, Purpose::noise, key_hash, variant, step), never from a generator that other images have used.
struct Request {
  uint64_t seed = 0;
  uint64_t key_hash = 0;  ///< io::hash64 of the source image's key
  int32_t variant = 0;    ///< 0 .. variants - 1; a redraw uses variant + variants
  int32_t prompt = -1;    ///< index in the run's prompts, -1: none
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
  /// Whether another variant gives another image. If not, one variant is all there is, and drawing a bad output again is useless.
  virtual bool is_random() const = 0;
  /// images [batch, 3, size, size] uint8 on the CPU, requests [batch].
  virtual Translated translate(const at::Tensor& images, std::span<const Request> requests) = 0;
  /// What made the output: translator, model hash, all settings. Written into every shard; another value never mixes with it in one run.
  virtual std::map<std::string, std::string> provenance() const = 0;
};

/// What translators share. [B, 3, H, W] uint8 -> float32 in [-1, 1] on the device.
at::Tensor from_bytes(const at::Tensor& images, c10::Device device);
/// [B, 3, H, W] floating point in [-1, 1] (what lies outside is cut) -> bytes on the CPU, rounded to the nearest.
Translated to_bytes(const at::Tensor& images);

struct CutTranslatorConfig {
  std::string weights;

  void visit(core::Fields& field) { field(weights, "weights", "generator.safetensors of `syncdr fit cut`; empty: the run's own fit"); }
};

struct FilterConfig {
  double sigma = 1.0;

  void visit(core::Fields& field) { field(sigma, "sigma", "standard deviation in pixels of the blur before the gradient", core::above(0)); }
};

struct TranslateConfig {
  std::string translator = "cut";
  std::string run;
  int64_t size = 256;
  int64_t batch = 8;
  int64_t variants = 1;
  int64_t unit_rows = 64;
  std::string codec = "png";
  double max_bad_share = 0.01;
  int64_t codec_threads = 0;
  CutTranslatorConfig cut;
  FilterConfig filter;

  void visit(core::Fields& field) {
    field(translator, "translator", "how images are translated", {"cut", "filter"});
    field(run, "run", "name of the translated set; empty: the translator's name");
    field(size, "size", "side of the images in pixels", core::between(8, 4096));
    field(batch, "batch", "images of one call; part of what the output may depend on, bit for bit", core::between(1, 4096));
    field(variants, "variants", "different translations of each image", core::between(1, 64));
    field(unit_rows, "unit_rows", "source rows of a unit: of work, of commit and of recovery", core::between(1, 1 << 20));
    field(codec, "codec", "how outputs are stored", {"png", "jpeg", "raw"});
    field(max_bad_share, "max_bad_share", "share of quarantined images above which the run stops", core::between(0, 1));
    field(codec_threads, "codec_threads", "threads of a rank that decode, and as many that encode; 0: half its share of the cores, 8 at most",
          core::between(0, 64));
    field.group(cut, "cut", "contrastive unpaired translation");
    field.group(filter, "filter", "gradient magnitude, no learning: a control");
  }
};

/// The named translator on this device, from source to target. Throws DataError if its weights are missing or do not fit, UsageError on a name it does
/// not know or settings that the model cannot take.
std::unique_ptr<Translator> make_translator(const TranslateConfig& config, const std::string& source, const std::string& target, c10::Device device);

}  // namespace syncdr::translate
