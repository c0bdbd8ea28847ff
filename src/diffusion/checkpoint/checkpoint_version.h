#pragma once

namespace syncdr::diffusion {

/// "_diffusers_version" of what is written: the release whose layout it is, which readers take for the age of a file.
inline constexpr const char* diffusers_version = "0.35.2";

}  // namespace syncdr::diffusion
