#pragma once
#include <cstdint>
#include <string>

#include "emoji_glyphs.h"
#include "syncdr/data/codec.h"

namespace syncdr::data_tools {

/// Masters are this large, or as large as the renders if those are larger.
inline constexpr int master_side = 128;

/// A picture of a master as a camera might find it: turned by up to 15 degrees, 78 to 100 % of its size, shifted by up to 6 %, on a bright
/// tinted background. A colour picture changes its hue by up to 18 degrees, saturation by 25 % and value by 15 %; an ink drawing's strokes
/// grow by up to 2 pixels of the master. All of it is drawn from (seed, key), so a picture depends on nothing but its name.
data::Image render_colour(const Master& master, int size, uint64_t seed, const std::string& key);
data::Image render_ink(const Master& master, int size, uint64_t seed, const std::string& key);

}  // namespace syncdr::data_tools
