#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "syncdr/data/codec.h"

namespace syncdr::data_tools {

/// Reads an image file and encodes it for a shard. side > 0: the shorter side is resized to side and the centre side x side is kept; 0: the size stays,
/// and a file that has the shard's codec keeps its very bytes (decoded once, to be sure that it can be). Throws DataError saying what is wrong with it.
std::vector<uint8_t> prepare_image(const std::filesystem::path& file, data::Codec codec, int64_t side);

/// The resize and crop alone.
data::Image fit_square(const data::Image& image, int64_t side);

}  // namespace syncdr::data_tools
