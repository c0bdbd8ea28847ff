#pragma once
#include <cstdint>

#include "syncdr/core/config.h"
#include "syncdr/core/philox.h"
#include "syncdr/data/codec.h"

namespace syncdr::data {

/// Random changes of training images. The defaults are the paper's: resize to 256, random 224 crop, flip.
struct AugmentConfig {
  int64_t resize = 256;
  int64_t crop = 224;
  double flip = 0.5;
  double rotation = 0;
  double scale = 0;
  double shift = 0;
  double grey = 0;
  double contrast = 0;
  double brightness = 0;
  double invert = 0;

  void visit(core::Fields& field) {
    field(resize, "resize", "both sides are resized to this many pixels", core::between(8, 4096));
    field(crop, "crop", "then a square of this many pixels is cut: at random in training, the centre in evaluation", core::between(8, 4096));
    field(flip, "flip", "probability of a horizontal flip", core::between(0, 1));
    field(rotation, "rotation", "largest rotation in degrees, either way", core::between(0, 180));
    field(scale, "scale", "largest relative change of size, either way", core::between(0, 0.9));
    field(shift, "shift", "largest shift as a share of the side, either way", core::between(0, 0.5));
    field(grey, "grey", "probability that colours become grey values", core::between(0, 1));
    field(contrast, "contrast", "largest relative change of contrast about the mean, either way", core::between(0, 1));
    field(brightness, "brightness", "largest change of brightness as a share of the full range, either way", core::between(0, 1));
    field(invert, "invert", "probability of a negative: where one domain draws dark on light what the other fills", core::between(0, 1));
  }
};

/// Throws UsageError if the crop is larger than what it is cut from. keys: "train.augment", for the message.
void check_sides(const AugmentConfig& config, const std::string& keys);

/// A training view of an image: one affine warp (resize, rotation, scale, shift, crop, flip together, so pixels are interpolated once), borders
/// repeated, then grey, contrast, brightness, negative. Writes [crop, crop, 3] uint8 to out. The same random stream gives the same pixels.
void augment(const Image& image, const AugmentConfig& config, core::Random random, uint8_t* out);

/// The evaluation view: resize (area-averaged when shrinking), centre crop. Writes [crop, crop, 3] uint8 to out.
void evaluation_view(const Image& image, const AugmentConfig& config, uint8_t* out);

}  // namespace syncdr::data
