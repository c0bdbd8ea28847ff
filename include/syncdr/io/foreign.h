#pragma once
#include <cstdint>
#include <string_view>

/// What lies in place of a file of weights or of a configuration after a download that went wrong.
namespace syncdr::io {

/// Throws DataError, which says what the content is and how to get the right one, if it is one of these: an empty file, a Git LFS pointer, a page of HTML or
/// XML, a GGUF file, a pickle (zip archives of torch.save and its older stream).
///
/// start  the first bytes, at least 256 where there are so many
/// size   of the whole
/// where  begins the message
void refuse_foreign(std::string_view start, uint64_t size, std::string_view where);

}  // namespace syncdr::io
