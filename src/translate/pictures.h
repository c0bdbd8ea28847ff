#pragma once
#include <ATen/core/Tensor.h>

#include "syncdr/data/codec.h"

/// Between the codec's images (rows of RGB pixels) and a translator's (planes of a batch). Private to translate.
namespace syncdr::translate {

/// The image as [3, size, size] uint8, written into `planes`. Another size is resized, the sides apart (averaging areas where both shrink).
void fill_planes(const data::Image& image, at::Tensor planes);
/// [3, H, W] uint8, contiguous -> rows of pixels.
data::Image to_image(const at::Tensor& planes);
/// The largest difference of two pixels within one channel of [3, H, W] uint8.
int64_t contrast(const at::Tensor& planes);

}  // namespace syncdr::translate
