#include "syncdr/diffusion/tokenizer.h"

#include <fmt/format.h>

#include <fstream>

#include "byte_pairs.h"
#include "fuzz.h"

using namespace syncdr;
namespace fs = std::filesystem;

namespace {

constexpr const char* files[] = {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};

constexpr const char* good_merges = "#version: 0.2\nc a\nca t</w>\n";

void write(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

/// Two folders with vocabulary and merges, of which one has a hostile file beside them, and the other, for tokenizer.json, nothing else.
void write_good_files(const fs::path& folder) {
  fs::create_directories(folder / "alone");
  std::string vocabulary = "{";
  int id = 0;
  for (std::string token : diffusion::byte_vocabulary()) {
    if (token[0] == '"' || token[0] == '\\') token.insert(0, "\\");
    vocabulary += fmt::format("\"{}\": {}, ", token, id++);
  }
  vocabulary += fmt::format("\"ca\": {}, \"cat</w>\": {}", id, id + 1);
  write(folder / "vocab.json", vocabulary + "}");
  write(folder / "merges.txt", good_merges);
}

}  // namespace

// The first byte says which file the rest is; 6 and above: the text that is encoded.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::Folder folder(write_good_files);
  static const std::string vocabulary = [] {
    std::ifstream in(folder / "vocab.json", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  if (size == 0) return -1;
  const std::string content(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t which = data[0] % 7;
  const fs::path place = which == 0 ? folder / "alone" : folder.path();
  if (which < 6) write(place / files[which], content);
  fuzz::accepts([&] {
    diffusion::Tokenizer tokenizer(place, /*by_library=*/which == 0);
    const std::string text = which < 6 ? "A photo of a Cat's <|endoftext|> <cat> 12 \xc3\xa9\xe4\xb8\xad" : content;
    for (const int64_t id : tokenizer.ids(text)) fuzz::require(id >= 0 && id < tokenizer.size(), "an id beyond the vocabulary\n");
    fuzz::accepts([&] { tokenizer.add_token("<cat>"), tokenizer.add_token("<cat>_1"); });
    tokenizer.encode({text});
    tokenizer.cut_from(text);
  });
  if (which == 1) write(folder / files[1], vocabulary);
  if (which == 2) write(folder / files[2], good_merges);
  if (which > 2 && which < 6) fs::remove(folder / files[which]);
  return 0;
}
