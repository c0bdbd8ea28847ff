#pragma once
#include <cstdint>
#include <span>

#include "syncdr/data/codec.h"

/// Pictures as people have them, which shards do not hold: WebP, TIFF, and those that a camera has stored lying on their side.
namespace syncdr::data {

enum class PictureFormat { jpeg, png, webp, tiff };
/// By the first bytes. Throws DataError on anything else, with its name where it is a known one (GIF, BMP, HEIF, ...).
PictureFormat format_of(std::span<const uint8_t> bytes);

/// How a picture must be turned to stand upright: 1 as it is, to 8, as in the EXIF standard (CIPA DC-008, 4.6.4). What says nothing valid is 1; TIFF is 1,
/// since decode_picture turns it.
int orientation_of(std::span<const uint8_t> bytes, PictureFormat format);
Image upright(Image image, int orientation);

/// As decode(), of all formats. Alpha is laid over white, of several pages of a TIFF the first is taken. Throws DataError on broken files, animations and,
/// before anything is decoded, pictures of more than most_pixels.
Image decode_picture(std::span<const uint8_t> bytes, PictureFormat format, int64_t at_least = 0, int64_t most_pixels = max_image_pixels);
/// All of it: a picture as a person sees it. Throws as the others.
Image upright_picture(std::span<const uint8_t> bytes, int64_t at_least = 0, int64_t most_pixels = max_image_pixels);

}  // namespace syncdr::data
