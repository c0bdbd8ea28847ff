#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "syncdr/data/augment.h"
#include "syncdr/io/identity.h"
#include "syncdr/retrieval/encoder.h"

namespace syncdr::search {

/// What makes features of pictures: an encoder, and how it sees them.
struct Model {
  std::string name;  ///< for people: its file, or the architecture and its weights
  retrieval::Encoder encoder{nullptr};
  data::AugmentConfig views;  ///< whose evaluation view it sees
  int64_t dim = 0;            ///< features of a picture, D
  io::Identity identity;      ///< all that a picture's features are a function of; "model" is the hash of the encoder's state

  const std::string& hash() const { return identity.at("model"); }
};

/// Takes the encoder to the device and into evaluation mode. config: the encoder's own. Throws UsageError if it does not take pictures of views.crop.
Model make_model(retrieval::Encoder encoder, const retrieval::EncoderConfig& config, const data::AugmentConfig& views, std::string name, c10::Device device);

/// Features [n, D] of pictures, unit rows, float on the CPU: the bits that features of a dataset with these pictures have. n > 0.
at::Tensor features_of(Model& model, const std::vector<data::Image>& pictures, c10::Device device);

/// Throws DataError naming `where` unless features that were made with `then` can be compared with this model's.
void expect_features_of(const Model& model, const io::Identity& then, const std::string& where);

}  // namespace syncdr::search
