#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "syncdr/data/codec.h"

/// libjpeg-turbo and libspng, one file each (those of other formats are pictures.cpp's). All throw DataError on broken input.
namespace syncdr::data::detail {

/// Throws DataError unless both sides are positive and the image has no more pixels than `most`.
void check_size(ImageSize size, const char* what, int64_t most = max_image_pixels);

ImageSize jpeg_size(std::span<const uint8_t> bytes);
Image decode_jpeg(std::span<const uint8_t> bytes, int64_t at_least);
std::vector<uint8_t> encode_jpeg(const Image& image);

ImageSize png_size(std::span<const uint8_t> bytes);
Image decode_png(std::span<const uint8_t> bytes);
std::vector<uint8_t> encode_png(const Image& image);

}  // namespace syncdr::data::detail
