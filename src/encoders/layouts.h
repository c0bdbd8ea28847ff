#pragma once
#include <functional>
#include <string>

#include "syncdr/io/safetensors.h"

namespace syncdr::encoders {

/// The tensors under the names that `name` gives theirs; an empty one drops the tensor. Throws DataError naming `where` if two come to the same name.
io::NamedTensors renamed(const io::NamedTensors& file, const std::function<std::string(const std::string&)>& name, const std::string& where);

/// Position embeddings of a square image's places, row by row, for another number of places: [n n, D] -> [side side, D] float, bicubic and antialiased as
/// timm does it. Throws DataError naming `where` if they are no square's.
at::Tensor resampled_positions(const at::Tensor& positions, int64_t side, const std::string& where);

}  // namespace syncdr::encoders
