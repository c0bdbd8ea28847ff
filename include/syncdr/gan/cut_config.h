#pragma once
#include <cstdint>
#include <vector>

#include "syncdr/core/config.h"

namespace syncdr::gan {

struct GeneratorConfig {
  int64_t width = 64;
  int64_t blocks = 9;
  std::vector<int64_t> nce_layers = {0, 4, 8, 12, 16};

  void visit(core::Fields& field) {
    field(width, "width", "channels after the first convolution", core::between(1, 512));
    field(blocks, "blocks", "residual blocks", core::between(1, 32));
    field(nce_layers, "nce_layers", "indices of the generator's layers whose features PatchNCE compares", core::at_least(0));
  }
};

struct DiscriminatorConfig {
  int64_t width = 64;
  int64_t layers = 3;

  void visit(core::Fields& field) {
    field(width, "width", "channels after the first convolution", core::between(1, 512));
    field(layers, "layers", "downsampling layers; 3 sees patches of 70x70 pixels", core::between(1, 6));
  }
};

}  // namespace syncdr::gan
