#pragma once
#include "syncdr/data/codec.h"

namespace syncdr::data {

/// What is cut out of a picture: its upper left corner and size in pixels.
struct Cut {
  int64_t left = 0, top = 0, height = 0, width = 0;
};

/// A cut of an image that is shrunk to `size` by averaging areas: each source pixel counts by the part of it that lies under the pixel to be made. In whole
/// numbers, 14 bits for a weight, so that the bytes are the same on every machine; within 0.52 of the exact mean, as measured. Only what the cut needs is
/// computed. No side may grow, and the cut lies within `size`. Alpha is left out.
///
/// returns  [cut.height, cut.width, 3]
Image shrink(const Image& image, ImageSize size, const Cut& cut);

}  // namespace syncdr::data
