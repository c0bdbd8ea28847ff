#include <cstdio>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/io/safetensors.h"

// Philox4x32-10 of zero counter and key: Random123's known answer.
int main() {
  const auto words = syncdr::core::philox4x32({0, 0, 0, 0}, {0, 0});
  std::printf("%08x %08x %08x %08x\n", words[0], words[1], words[2], words[3]);
  try {
    syncdr::io::read_safetensors("/nonexistent.safetensors");
  } catch (const syncdr::core::DataError&) {
    return 0;
  }
  return 1;
}
