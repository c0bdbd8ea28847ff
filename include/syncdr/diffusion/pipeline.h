#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "syncdr/diffusion/checkpoint.h"
#include "syncdr/diffusion/lora.h"
#include "syncdr/diffusion/sampling.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/tokenizer.h"

/// Whole image-to-image pipelines. Images are [B, 3, H, W] float32 in [-1, 1] on the model's device, H and W multiples of the autoencoder's factor;
/// latents [B, C, h, w] float32. No random numbers are drawn here: noise is given. An image's result does not depend on the others of its batch
/// beyond rounding. The functions may be called from several threads, each with a scheduler of its own.
namespace syncdr::diffusion {

/// How networks compute. winograd: 3x3 convolutions on a CPU are faster (float32; bfloat16 where the processor has it, there a little less exact), and their
/// weights take 1.8 times as much memory, narrow ones in float32 4 times.
struct InferenceOptions {
  c10::ScalarType dtype = c10::kFloat;  ///< float32, bfloat16 or float16
  c10::Device device = c10::kCPU;
  bool winograd = true;
};

/// Files that are put into a checkpoint's networks, or in a network's place, as they are loaded.
struct Additions {
  std::vector<LoraFile> lora;
  std::vector<std::filesystem::path> tokens;  ///< of learned tokens (learned_tokens.h)
  std::filesystem::path autoencoder;          ///< a component's folder, in place of the checkpoint's; empty: none
};

/// A checkpoint's networks, loaded for translation.
class StableDiffusion {
 public:
  /// Networks that the last one made of the same checkpoint with the same additions still holds are shared, not read again.
  /// Throws DataError naming file and field.
  StableDiffusion(const CheckpointFolder& checkpoint, const InferenceOptions& options, const Additions& additions = {});

  /// [N, L, D] in the networks' dtype: tokenized, cut to the tokenizer's length, encoded. Keys and values of the UNet are prepared.
  TextContext encode_text(const std::vector<std::string>& texts);
  /// The end of a text that encode_text() has no room for; empty: there is room for all.
  std::string cut_from(const std::string& text) const;
  /// Scaled latents, sampled with noise [B, C, h, w], or the mode where it is undefined.
  at::Tensor encode_image(const at::Tensor& images, const at::Tensor& noise = {});
  /// Scaled latents -> images, not cut to [-1, 1].
  at::Tensor decode_image(const at::Tensor& latents);
  /// The mode, not scaled, as InstructPix2Pix concatenates it.
  at::Tensor image_condition(const at::Tensor& images);

  /// A scheduler of the checkpoint's configuration: of the class it names, or of another one. It belongs to the caller.
  std::unique_ptr<Scheduler> make_scheduler(const std::string& name = "", const SamplerOptions& options = {}) const;

  UNet& unet();
  TextEncoder& text_encoder();
  const Tokenizer& tokenizer() const;
  /// denoise() of sampling.h with this network.
  at::Tensor denoise(std::span<const Branch> guidance, Scheduler& scheduler, const at::Tensor& sample, Trajectory trajectory = {});
  /// Whether denoise(), and so the pipelines below, replay the UNet's calls as CUDA graphs, one for each shape of batch, text and image; without
  /// effect on a CPU. Then they may be called by one thread at a time, and the parameters may not change. Not yet run on a GPU.
  void record_steps(bool on);
  /// Image latents' channels that the UNet takes behind the sample's: 0, or InstructPix2Pix's.
  int64_t condition_channels() const;
  /// Whether the UNet was distilled under guidance (time_cond_proj_dim): text_guidance then tells it the scale.
  bool takes_guidance() const;
  /// [C, h, w] of images of this size.
  std::vector<int64_t> latent_shape(int64_t height, int64_t width) const;
  /// Pixels of a latent's side.
  int64_t factor() const;
  c10::Device device() const { return device_; }
  c10::ScalarType dtype() const { return dtype_; }
  /// XXH3-128 over all networks' parameters as they are in dtype, with all additions.
  std::string hash() const;

 private:
  struct Networks;
  static std::shared_ptr<Networks> networks_of(const CheckpointFolder& checkpoint, const InferenceOptions& options, const Additions& additions);

  std::filesystem::path root_;
  std::shared_ptr<Networks> networks_;
  c10::ScalarType dtype_;
  c10::Device device_;
};

/// Noise of one call, standard normal, [B, C, h, w] float32.
struct PipelineNoise {
  at::Tensor encoding;  ///< of the autoencoder's posterior
  at::Tensor start;     ///< that latents are mixed with, or sampling begins from
  StepNoise step;       ///< for schedulers that want it
};

/// SDEdit (Meng et al., ICLR 2022), equal to diffusers' StableDiffusionImg2ImgPipeline: latents are noised to `strength` of the trajectory, and denoised
/// under the text. The scheduler's steps are set by the caller. With steps below a share of the times (Scheduler::set_steps) and a strength of 1 it is
/// equal to LatentConsistencyModelImg2ImgPipeline at a strength of that share.
at::Tensor img2img(StableDiffusion& model, Scheduler& scheduler, const at::Tensor& images, std::span<const Branch> guidance, double strength,
                   const PipelineNoise& noise);

/// From pure noise; what to keep of the image is in the guidance's branches (instruct_guidance of image_condition). Equal to diffusers'
/// StableDiffusionInstructPix2PixPipeline.
at::Tensor generate(StableDiffusion& model, Scheduler& scheduler, std::span<const Branch> guidance, const PipelineNoise& noise);

/// DDIM inversion (Song et al., ICLR 2021): the mode's latents taken `depth` of the way to noise under the guidance. Both schedulers have the same number
/// of steps; depth in (0, 1] is the share of steps, 1 inverts to noise.
at::Tensor invert(StableDiffusion& model, Scheduler& inverse, const at::Tensor& images, std::span<const Branch> guidance, double depth);

/// Dual diffusion implicit bridges (Su et al., ICLR 2023), partly where depth is less than 1: inverted under the source's guidance, decoded under the
/// target's. Deterministic.
at::Tensor ddib(StableDiffusion& model, Scheduler& inverse, Scheduler& scheduler, const at::Tensor& images, std::span<const Branch> source,
                std::span<const Branch> target, double depth);

}  // namespace syncdr::diffusion
