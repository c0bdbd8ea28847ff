#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "syncdr/data/codec.h"
#include "syncdr/translate/engine.h"

/// A few translations to look at, before a whole dataset is translated.
namespace syncdr::translate {

/// A source image, of the translator's size, and its translation.
struct Preview {
  data::Image source, translation;
};

/// A batch of the images of a task that check_translation lets pass, evenly spread over its rows, and what translate_split would make of them (variant 0, drawn
/// once). Nothing is written.
std::vector<Preview> preview(const TranslationTask& task, const TranslateConfig& config, uint64_t seed, Translator& translator);

/// Rows of a sheet that belong together, under a heading.
struct SheetPart {
  std::string heading;
  std::vector<std::vector<data::Image>> rows;  ///< each an image for each column
};

/// A PNG with a title above each column. Images may be of different sizes: a cell is as large as the largest. Written atomically.
void write_sheet(const std::filesystem::path& png, const std::vector<std::string>& columns, const std::vector<SheetPart>& parts);

}  // namespace syncdr::translate
