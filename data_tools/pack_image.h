#pragma once
#include <cstdint>
#include <vector>

#include "pack_sources.h"
#include "syncdr/data/codec.h"

namespace syncdr::data_tools {

/// Reads an image and encodes it for a shard. side > 0: the shorter side is resized to side and the centre side x side is kept; 0: the size stays,
/// and a file that has the shard's codec and stands upright keeps its very bytes (decoded once, to be sure that it can be; trust: only its header and end are
/// looked at). Throws DataError saying what is wrong with it.
struct Prepared {
  std::vector<uint8_t> bytes;
  bool turned = false;  ///< it was not upright, as its EXIF says
};
Prepared prepare_image(const Source& source, data::Codec codec, int64_t side, bool trust);

/// The resize and crop alone.
data::Image fit_square(const data::Image& image, int64_t side);

}  // namespace syncdr::data_tools
