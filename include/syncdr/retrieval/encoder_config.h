#pragma once
#include <cstdint>
#include <string>

#include "syncdr/core/config.h"
#include "syncdr/encoders/table.h"

namespace syncdr::retrieval {

struct EncoderConfig {
  std::string name = "resnet50";
  int64_t size = 0;
  int64_t dim = 512;
  std::string weights;
  std::string batch_norm = "global";
  bool feature_norm = false;

  void visit(core::Fields& field) {
    field(name, "name", "architecture; small: for 64-pixel pictures", encoders::backbone_names());
    field(size, "size", "side of the images that it sees, for networks with position embeddings; 0: the side that it was trained with", core::between(0, 4096));
    field(dim, "dim", "features per image", core::between(2, 65536));
    field(weights, "weights",
          "safetensors of a backbone as timm, torchvision, open_clip or transformers name it, or of a whole trained encoder; empty: random");
    field(batch_norm, "batch_norm", "statistics of batch normalisation in training: of all ranks, of this rank, or the stored ones",
          {"global", "local", "frozen"});
    field(feature_norm, "feature_norm", "batch normalisation without affine before the features are scaled to unit length");
  }
};

}  // namespace syncdr::retrieval
