#include "syncdr/io/foreign.h"

#include <algorithm>
#include <cctype>

#include "syncdr/core/error.h"

namespace syncdr::io {
namespace {

bool is_markup(std::string_view start) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (start.starts_with(byte_order_mark)) start.remove_prefix(byte_order_mark.size());
  start.remove_prefix(std::min(start.find_first_not_of(" \t\r\n"), start.size()));
  return start.size() > 1 && start[0] == '<' && (start[1] == '!' || start[1] == '?' || std::isalpha(static_cast<unsigned char>(start[1])));
}

bool is_pickle(std::string_view start) {
  const bool stream = start.size() > 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5;  // the opcode PROTO and a version
  return stream || start.starts_with("PK\3\4");
}

/// What the content is and how to get the right one, to follow a file's name; empty if it is none of these.
std::string foreign_content(std::string_view start, uint64_t size) {
  if (size == 0) return "is empty: it was not downloaded or written to its end. Get it again.";
  if (start.starts_with("version https://git-lfs.github.com/spec/"))
    return "is a Git LFS pointer, which a clone without Git LFS leaves in place of a large file. Run `git lfs pull` in its folder, or download the file "
           "itself.";
  if (is_markup(start)) return "is a page of HTML or XML, as servers send in place of a file (a wrong address, a missing log-in). Download the file again.";
  if (start.starts_with("GGUF")) return "is a GGUF file, which is not read. Download the weights as safetensors.";
  if (is_pickle(start))
    return "is a pickle, as torch.save writes it (.bin, .pt, .ckpt). Loading one can run any code, so none is read here. Download the weights as "
           "safetensors, or turn them into that without running the code: syncdr-data convert FILE -o NEW.safetensors.";
  return "";
}

}  // namespace

void refuse_foreign(std::string_view start, uint64_t size, std::string_view where) {
  if (const std::string foreign = foreign_content(start, size); !foreign.empty()) throw core::DataError("{}: {}", where, foreign);
}

}  // namespace syncdr::io
