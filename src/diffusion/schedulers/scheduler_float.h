#pragma once

/// float32 functions rounded as LibTorch's kernels round them. The C library's differ in the last bit (LibTorch's x ** 0.5 is a power, not
/// a square root), which over a thousand steps, or in the difference of two close logarithms, becomes visible. They compute on the host.
namespace syncdr::diffusion {

float root(float value);
float log_of(float value);
float exp_of(float value);

}  // namespace syncdr::diffusion
