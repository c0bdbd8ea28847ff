#pragma once
#include <cstdint>
#include <string>
#include <string_view>

/// What lies in place of a file of weights or of a configuration after a download that went wrong.
namespace syncdr::io {

/// What the content is and how to get the right one, to follow a file's name in a message; empty if it is none of these: an empty file, a Git LFS
/// pointer, a page of HTML or XML, a GGUF file, a pickle (zip archives of torch.save and its older stream).
///
/// start  the first bytes, at least 256 where there are so many
/// size   of the whole
std::string foreign_content(std::string_view start, uint64_t size);

}  // namespace syncdr::io
