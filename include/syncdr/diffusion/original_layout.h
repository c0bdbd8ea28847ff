#pragma once
#include <string>
#include <vector>

#include "syncdr/diffusion/autoencoder.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/unet.h"

/// Stable Diffusion 1 and 2 and InstructPix2Pix as their authors published them: one file with the UNet under "model.diffusion_model." (its moving average
/// under "model_ema."), the autoencoder under "first_stage_model.", and CLIP's text model under "cond_stage_model.", without any configuration.
namespace syncdr::diffusion {

/// Such a file's parts. Tensors have diffusers' names, dtypes are those of the file. A configuration follows from names and shapes, and from the two families:
/// with CLIP ViT-L/14 the UNet has 8 heads at each level, with OpenCLIP ViT-H/14 heads of 64 channels.
struct OriginalCheckpoint {
  UNetConfig unet;
  AutoencoderConfig autoencoder;
  TextEncoderConfig text_encoder;
  io::NamedTensors unet_tensors, autoencoder_tensors, text_encoder_tensors;
  bool averaged = false;                 ///< the UNet is the moving average
  bool open_clip = false;                ///< the text model is OpenCLIP's: Stable Diffusion 2
  std::vector<std::string> passed_over;  ///< what an original file holds beside these, by name; of many of a kind their prefix and number
  std::vector<std::string> unknown;      ///< what no original file holds, beside the three parts

  /// Of InstructPix2Pix: the UNet reads an image's latents too.
  bool instruct() const { return unet.in_channels == 2 * autoencoder.latent_channels; }
};

/// last_weights: of a file with both, the UNet as the last step of training left it, not the average.
/// Throws DataError naming the tensor: a part or a tensor is missing, has another shape or no floating point values, is of no part; another family (Stable
/// Diffusion XL), another UNet (inpainting), another schedule of noise. UsageError: last_weights, and there is the average alone.
OriginalCheckpoint read_original(const io::NamedTensors& tensors, bool last_weights, const std::string& where);

}  // namespace syncdr::diffusion
