#include "syncdr/io/safetensors.h"

#include "fuzz.h"

using namespace syncdr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::MemoryFile file;
  fuzz::accepts([&] {
    const io::Safetensors content = io::read_safetensors(file.with({data, size}).path());
    size_t bytes = 0;
    for (const auto& [name, tensor] : content.tensors) bytes += tensor.nbytes();
    fuzz::require(bytes <= size, "tensors of more bytes than the file has\n");
    fuzz::require(io::read_safetensors_header(file.path()).tensors.size() == content.tensors.size(), "header and file differ\n");
  });
  return 0;
}
