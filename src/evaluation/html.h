#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace syncdr::evaluation {

/// Text as it may stand between tags and in quoted attributes: & < > " ' replaced, control characters left out.
std::string escape(std::string_view text);

/// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);

}  // namespace syncdr::evaluation
