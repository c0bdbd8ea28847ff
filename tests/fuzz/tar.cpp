#include "tar.h"

#include <fmt/format.h>

#include "fuzz.h"
#include "pack_sources.h"

using namespace syncdr;

namespace {

/// Gives each header its checksum, which a mutation breaks.
std::vector<uint8_t> mended(std::vector<uint8_t> bytes) {
  for (size_t at = 0; at + 512 <= bytes.size(); at += 512) {
    if (std::string_view(reinterpret_cast<const char*>(bytes.data()) + at + 257, 5) != "ustar") continue;
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : bytes[at + i];
    const std::string text = fmt::format("{:06o}", sum) + std::string("\0 ", 2);
    std::copy(text.begin(), text.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at + 148));
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::MemoryFile file;
  file.with(mended({data, data + size}));
  const bool is_tar = fuzz::accepts([&] {
    data_tools::read_tar(file.path(), [&](const data_tools::TarMember& member) {
      fuzz::require(member.offset <= size && member.size <= size - member.offset, "a member passes the end\n");
    });
  });
  if (!is_tar) return 0;
  for (const char* split : {"train", "test"}) {
    data_tools::ListOptions options;
    options.tars = {fmt::format("photo:{}={}", split, file.path().string())};
    fuzz::accepts([&] { data_tools::read_tars(options); });
  }
  return 0;
}
