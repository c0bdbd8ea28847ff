#include <ATen/ops/tensor.h>

#include "probe.h"
#include "syncdr/core/error.h"

using namespace syncdr;

SYNCDR_PROBE(echo, "any -> the same, read and written again") { return in; }

SYNCDR_PROBE(read_each, "--model: a folder of safetensors -> by FILE|NAME the tensors of each file; by FILE alone, as bytes, why it is refused") {
  io::NamedTensors results;
  for (const auto& entry : std::filesystem::directory_iterator(model)) {
    const std::string file = entry.path().filename().string();
    try {
      for (const auto& [name, tensor] : io::read_safetensors(entry.path()).tensors) results.emplace(file + "|" + name, tensor);
    } catch (const core::DataError& error) {
      const std::string message = error.what();
      results.emplace(file, at::tensor(std::vector<uint8_t>(message.begin(), message.end()), at::kByte));
    }
  }
  return results;
}
