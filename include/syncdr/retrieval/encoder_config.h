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
  std::string head = "random";
  std::string weights;
  std::string batch_norm = "global";
  bool feature_norm = false;
  std::string train = "all";
  double layer_decay = 1;

  void visit(core::Fields& field) {
    field(name, "name", "architecture; small: for 64-pixel pictures", encoders::backbone_names());
    field(size, "size", "side of the images that it sees, for networks with position embeddings; 0: the side that it was trained with", core::between(0, 4096));
    field(dim, "dim", "features per image", core::between(2, 65536));
    field(head, "head",
          "how the linear head begins: random, or as the identity, where dim is the backbone's number of features: training then begins with these",
          {"random", "identity"});
    field(weights, "weights",
          "safetensors of a backbone as timm, torchvision, open_clip or transformers name it, or of a whole trained encoder; empty: random");
    field(batch_norm, "batch_norm", "statistics of batch normalisation in training: of all ranks, of this rank, or the stored ones",
          {"global", "local", "frozen"});
    field(feature_norm, "feature_norm", "batch normalisation without affine before the features are scaled to unit length");
    field(train, "train", "what is trained: all; head, the backbone stays as its weights are; or the head and layers by name, as in \"layer3+layer4\"");
    field(layer_decay, "layer_decay", "rate of each layer relative to the next one, from the head on towards the input", core::between(0, 1));
  }
};

}  // namespace syncdr::retrieval
