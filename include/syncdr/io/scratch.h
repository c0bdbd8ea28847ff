#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace syncdr::io {

/// An uninitialised tensor on the CPU, which may be larger than memory: from `in_memory` bytes on it lies in a file in the system's folder for temporary files
/// ($TMPDIR, else /tmp), whose pages the system writes back and drops where memory is short. The file has no name, so nothing remains of it, however the
/// process ends. Its room is reserved at once: where there is not enough, the tensor lies in memory after all, and the log says so.
at::Tensor scratch_tensor(at::IntArrayRef shape, at::TensorOptions options = at::kFloat, int64_t in_memory = int64_t{1} << 25);

}  // namespace syncdr::io
