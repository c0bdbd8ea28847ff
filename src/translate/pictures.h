#pragma once
#include <ATen/core/Tensor.h>

#include "syncdr/data/codec.h"

/// Between the codec's images (rows of RGB pixels) and a translator's (planes of a batch). Private to translate.
namespace syncdr::translate {

/// The picture of a translator's image [3 or 4, size, size], without its mask; a view.
inline at::Tensor picture_of(const at::Tensor& image) { return image.narrow(0, 0, 3); }
/// The image as [3, size, size] uint8, written into `planes`. Another size is resized, the sides apart (averaging areas where both shrink).
void fill_planes(const data::Image& image, at::Tensor planes);
/// A mask's values, [height, width], resized in the same way into plane [size, size] uint8: 255 from the middle of their range on, else 0.
void fill_mask(const std::vector<uint8_t>& values, int64_t height, int64_t width, at::Tensor plane);
/// [3, H, W] uint8, contiguous -> rows of pixels.
data::Image to_image(const at::Tensor& planes);
/// The largest difference of two pixels within one channel of [3, H, W] uint8.
int64_t contrast(const at::Tensor& planes);

}  // namespace syncdr::translate
