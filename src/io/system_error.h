// What the last system call that failed says of it.
#pragma once

#include <string>

namespace syncdr::io {

/// The text of errno, "No space left on device".
std::string reason();

}  // namespace syncdr::io
