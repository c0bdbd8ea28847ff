#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/data/augment.h"
#include "syncdr/data/dataset.h"

namespace syncdr::retrieval {
class Encoder;
}

namespace syncdr::evaluation {

/// Where an encoder puts training images of all domains, and translations into them (the paper's figure 4): their features, placed in the plane by t-SNE.
struct FeatureMap {
  struct Group {
    std::string domain;      ///< whose look the images have
    bool synthetic = false;  ///< translations; else real images
    std::vector<std::pair<double, double>> points;
  };
  std::string title;  ///< "before training"
  std::vector<Group> groups;
  double divergence = 0;  ///< of Embedding
};

/// points: in all, about; as many of each domain's real images as of translations into it, evenly spread over the training list. sets: the translated sets
/// to show; none: real images alone. Ranks share the embedding as in embed(); the map is rank 0's, without groups elsewhere or where there are fewer than 4
/// images. Throws DataError if a translation is missing or broken.
FeatureMap map_features(comm::World& world, retrieval::Encoder& encoder, const data::Dataset& dataset, const std::vector<std::string>& domains,
                        const std::vector<std::string>& sets, const data::AugmentConfig& views, int64_t batch, int64_t points, const std::string& title);

}  // namespace syncdr::evaluation
