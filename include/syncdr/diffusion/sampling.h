#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "syncdr/diffusion/scheduler.h"
#include "syncdr/diffusion/text_context.h"

/// Guided sampling: what lies between noise and latents.
namespace syncdr::diffusion {

class StepGraph;
class UNet;

/// One prediction that guidance combines. All forms of classifier-free guidance are sums, e = sum of weight * e_branch.
struct Branch {
  TextContext text;  ///< of B samples, or of one for all
  at::Tensor image;  ///< [B, C, h, w]: latents that the network sees behind the sample's; undefined: none
  double weight = 1;
  std::optional<double> told = {};  ///< the guidance scale that a network distilled under guidance is told
};

/// e_negative + scale (e_text - e_negative) (Ho and Salimans, 2022). A scale of 1 or less asks for no guidance, as in diffusers: the text alone,
/// one branch. So does a distilled network (StableDiffusion::takes_guidance), which is told the scale and knows no negative text.
std::vector<Branch> text_guidance(const TextContext& text, const TextContext& negative, double scale, bool distilled = false);

/// InstructPix2Pix (Brooks, Holynski and Efros, CVPR 2023, equation 3): e_0 + image_scale (e_image - e_0) + scale (e_text - e_image), with the
/// image's latents in e_text and e_image, zeros in e_0, and the negative text in e_image and e_0. Branches of weight 0 are left out.
/// diffusers does the same where scale is above 1 and image_scale at least 1, and takes e_text alone elsewhere.
std::vector<Branch> instruct_guidance(const TextContext& text, const TextContext& negative, const at::Tensor& image, double scale, double image_scale);

/// Fresh standard normal noise of the sample's shape and dtype for call i of a trajectory. Only asked of schedulers that want it.
using StepNoise = std::function<at::Tensor(int64_t i)>;

/// Which part of a planned trajectory is sampled, and with what.
struct Trajectory {
  int64_t first = 0;           ///< the first call
  int64_t last = -1;           ///< the call before which it ends; -1: behind all
  StepNoise noise = {};        ///< for schedulers that want it
  StepGraph* graph = nullptr;  ///< that calls of the network go through, if any
};

/// Denoises along a trajectory. All branches are one call of the network. What the scheduler remembers of an earlier trajectory is forgotten first.
/// sample [B, C, h, w] float32 on the network's device, at the noise level of the first call; the network's dtype is its own.
/// Returns [B, C, h, w] float32. Throws UsageError if the branches' shapes do not fit.
at::Tensor denoise(UNet& unet, std::span<const Branch> branches, Scheduler& scheduler, at::Tensor sample, const Trajectory& trajectory = {});

/// The texts of several samples (or branches) as one of their batch, keys and values included where all have them.
TextContext join(std::span<const TextContext> texts);

}  // namespace syncdr::diffusion
