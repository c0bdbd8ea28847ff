#pragma once
#include <mutex>
#include <unordered_map>

#include "denoiser_data.h"
#include "syncdr/diffusion/autoencoder.h"

namespace syncdr::fit {

/// Images as the denoiser sees them, each [b, C, h, w] float32 on the device. Latents are the autoencoder's mode: its spread is far below the noise that
/// training adds.
struct EncodedViews {
  at::Tensor latents;    ///< scaled
  at::Tensor condition;  ///< of the structure map, not scaled, as InstructPix2Pix's; undefined where the UNet takes none
};

/// Encodes views with a frozen autoencoder, and keeps them where asked to. In batches of one size an image's latents have the same bits whatever else is
/// encoded with it, so that what was kept before, or lost with a run that is resumed, does not show.
class ViewEncoder {
 public:
  ViewEncoder(diffusion::Autoencoder autoencoder, c10::Device device, const DenoiserOptions& options);

  EncodedViews encode(const DenoiserBatch& batch);
  /// Whether the view is kept already. May be called while another thread encodes.
  bool has(const ImageView& view) const;
  /// The condition of images [b, 3, S, S] uint8 with the blurs [b]: [b, C, h, w] on the device.
  at::Tensor condition_of(const at::Tensor& images, const at::Tensor& sigmas);

 private:
  at::Tensor encode_fresh(const DenoiserBatch& batch);
  /// The autoencoder's mode of pictures [n, 3, S, S], always of `at_once` in one call: [n, C, h, w] float32.
  at::Tensor modes_of(const at::Tensor& pictures, int64_t at_once);
  /// Of grey maps' three equal channels.
  at::Tensor structure_of(const at::Tensor& images, const at::Tensor& sigmas) const;

  diffusion::Autoencoder autoencoder_;
  c10::Device device_;
  bool condition_, bfloat16_, keeps_;
  mutable std::mutex mutex_;
  std::unordered_map<int64_t, at::Tensor> kept_;  // by ImageView::id, [C or 2 C, h, w]
};

}  // namespace syncdr::fit
