#include "syncdr/io/torch_file.h"

#include "fuzz.h"
#include "state_dict.h"

using namespace syncdr;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::MemoryFile input;
  fuzz::accepts([&] {
    io::TorchFile file(input.with({data, size}).path());
    file.strangers();
    const std::optional<std::string> keys[] = {std::nullopt, "."};
    for (const auto& key : keys)
      fuzz::accepts([&] {
        for (const auto& [name, value] : data_tools::find_state_dict(file.root(), key, "input").tensors)
          fuzz::accepts([&, &name = name, &value = value] { file.tensor(*value, name).sum(); });
      });
  });
  return 0;
}
