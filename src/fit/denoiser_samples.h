#pragma once
#include "denoiser_networks.h"
#include "view_encoder.h"

namespace syncdr::fit {

/// Quick translations for a person to look at: from the structure map in layout "instruct" (10 DDIM steps, guidance 2, image guidance 1), through img2img in
/// layout "text" (strength 0.6 of 20 steps, guidance 4).
///
/// texts    [3, L, D], hidden states of both prompts and of none
/// images   [n, 3, S, S] uint8 on the CPU
/// domain   whose look is asked for, 0 or 1
/// returns  [n, 3, S, S] uint8 on the CPU; an image's noise depends on the seed and its place
at::Tensor translate_samples(DenoiserNetworks& networks, ViewEncoder& encoder, const at::Tensor& texts, const at::Tensor& images, int64_t domain,
                             const DiffusionFitConfig& config, uint64_t seed);

}  // namespace syncdr::fit
