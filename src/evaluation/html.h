#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "syncdr/core/svg.h"

namespace syncdr::evaluation {

using core::escape;

/// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);

}  // namespace syncdr::evaluation
