#pragma once
#include <cstdint>
#include <string>

#include "syncdr/translate/config.h"

namespace syncdr::app {

/// A row of the table: cds (real images alone), a translator, or the name of a translated set that the dataset holds. "NAME:K" trains on K variants of
/// each translation at most.
struct Arm {
  std::string name;      ///< as written
  std::string base;      ///< without ":K"
  int64_t variants = 0;  ///< K; 0: all
  const translate::TranslatorRow* translator;  ///< null: base is none

  /// Throws UsageError if what follows the colon is no number from 1 to 64.
  explicit Arm(const std::string& text);

  /// The name as that of a folder: "structure-1".
  std::string folder() const;
};

}  // namespace syncdr::app
