#pragma once
#include <limits>

namespace syncdr::retrieval {

/// What is found on validation images of an encoder that is being trained. NaN: could not be measured.
struct Validation {
  static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

  /// labels alone: mean Prec@1 of all directions.
  Validation(double labels_ = unknown) : labels(labels_) {}

  double labels;                ///< mean Prec@1 of all directions; NaN: images have no labels
  double mutual = unknown;      ///< share of mutual neighbours across directions, no labels needed; as what follows
  double uniformity = unknown;  ///< of all domains' features together: less is better
  double alignment = unknown;   ///< mean squared distance of training images and their translations: less is better; NaN: there are no translations
};

}  // namespace syncdr::retrieval
