#pragma once
#include <string_view>

namespace syncdr::io {

/// Whether a text can stand in a JSON file, and be read by other programs.
bool is_utf8(std::string_view text);

}  // namespace syncdr::io
