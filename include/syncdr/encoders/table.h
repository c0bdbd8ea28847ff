#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "syncdr/core/config.h"

namespace syncdr::encoders {

class Backbone;

/// What images are normalised with, channel by channel: (pixel / 255 - mean) / deviation.
struct Normalisation {
  std::array<double, 3> mean, deviation;
};

struct BackboneRow;
using MakeBackbone = std::shared_ptr<Backbone>(const BackboneRow& row, int64_t size);

/// A row of the table of backbones. Names of tensors tell neither the normalisation nor, say, the activation: what they do not tell comes with the name.
struct BackboneRow {
  std::string_view name;        ///< timm's name of the architecture, where it has one
  std::string_view weights;     ///< whose weights it is for
  Normalisation normalisation;  ///< that they were trained with
  int64_t size;                 ///< side in pixels of the images that they were trained with
  MakeBackbone* make;           ///< size: side of the images that it will see. Its parameters are not drawn yet: see `initialise`
};

std::span<const BackboneRow> backbones();
/// Null: there is none of this name.
const BackboneRow* find_backbone(std::string_view name);
core::Choices backbone_names();

}  // namespace syncdr::encoders
