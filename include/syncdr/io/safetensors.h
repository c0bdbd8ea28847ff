#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

/// The safetensors format (an 8-byte little-endian header length, a JSON header, raw tensors). What its authors' reader (0.8) takes is taken, but for
/// names that occur twice, entries that are lists, more than 64 levels, shapes that LibTorch cannot have, and a BOOL that is neither 0 nor 1.
namespace syncdr::io {

using NamedTensors = std::map<std::string, at::Tensor>;

struct Safetensors {
  NamedTensors tensors;                         ///< on the CPU, contiguous
  std::map<std::string, std::string> metadata;  ///< the header's "__metadata__"
  std::set<std::string> unread;                 ///< names of tensors that were passed over
};

/// Reads a whole file. dtypes: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL. Tensors of the format's other dtypes (U16, F8_E4M3, ...) are checked and passed
/// over with a warning: whoever needs one finds it missing.
/// Throws DataError naming file and tensor: truncated file, another kind of file (which it names), header over 100 MB or no JSON, unknown dtype, a size
/// that does not match shape and dtype, offsets that overlap, leave holes or pass the end, duplicate names, a shape whose product overflows.
Safetensors read_safetensors(const std::filesystem::path& path);

/// The same of the header alone, whatever the size of the file: tensors have their shapes and dtypes, but no values (LibTorch's device "meta").
Safetensors read_safetensors_header(const std::filesystem::path& path);

/// Writes atomically: the header padded so that data begins 8-byte aligned, tensors by falling element size and then by name, so that each is aligned
/// too (the original's order). Equal tensors give equal bytes. Tensors may lie on any device and need not be contiguous. Throws UsageError on other dtypes.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const std::map<std::string, std::string>& metadata = {});

}  // namespace syncdr::io
