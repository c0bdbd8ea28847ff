#include "syncdr/translate/preview.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "pictures.h"
#include "run_masks.h"
#include "run_prompts.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"

namespace syncdr::translate {
namespace {

constexpr int font = cv::FONT_HERSHEY_SIMPLEX, line = 24, gap = 4;  // pixels: of a line of words, between images

/// Words within a box, smaller where they are too long for it.
void write_words(cv::Mat& sheet, const std::string& words, const cv::Rect& box) {
  int below = 0;
  const cv::Size whole = cv::getTextSize(words, font, 1, 1, &below);
  const double scale = std::min(0.5, double(box.width) / std::max(whole.width, 1));
  cv::putText(sheet, words, {box.x, box.y + box.height - 8}, font, scale, {0, 0, 0}, 1, cv::LINE_AA);
}

cv::Size cell_of(const std::vector<SheetPart>& parts) {
  cv::Size cell;
  for (const SheetPart& part : parts)
    for (const auto& row : part.rows)
      for (const data::Image& image : row) {
        cell.width = std::max(cell.width, static_cast<int>(image.width));
        cell.height = std::max(cell.height, static_cast<int>(image.height));
      }
  return cell;
}

/// OpenCV's constructor takes no const pixels; nothing writes to them.
cv::Mat pixels_of(const data::Image& image) {
  return {static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, const_cast<uint8_t*>(image.pixels.data())};
}

}  // namespace

std::vector<Preview> preview(const TranslationTask& task, const TranslateConfig& config, uint64_t seed, Translator& translator) {
  const data::ShardList rows = task.dataset.real(task.source, task.split);
  const RunPrompts prompts(texts_for(config, translator.prompt_kind(), task.target, rows), translator);
  const int64_t count = translator.batch();
  const RunMasks masks = masks_for(config, translator.takes_masks(), rows);
  const at::Tensor images = at::zeros({count, masks.given() ? 4 : 3, translator.size(), translator.size()}, at::kByte);
  std::vector<Request> requests;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = i * rows.rows() / count;
    const data::Image image = rows.image(row, translator.size());
    fill_planes(image, picture_of(images[i]));
    if (masks.given()) masks.fill(row, image, images[i][3]);
    requests.push_back({.seed = seed, .key_hash = io::hash64(rows.key(row)), .prompt = prompts.of(row)});
  }
  const Translated translated = translator.translate(images, requests);
  std::vector<Preview> previews;
  for (int64_t i = 0; i < count; ++i) previews.push_back({to_image(picture_of(images[i])), to_image(translated.images[i])});
  return previews;
}

void write_sheet(const std::filesystem::path& png, const std::vector<std::string>& columns, const std::vector<SheetPart>& parts) {
  const cv::Size cell = cell_of(parts);
  int height = line;
  for (const SheetPart& part : parts) height += line + static_cast<int>(part.rows.size()) * (cell.height + gap);
  data::Image sheet{.height = height, .width = static_cast<int>(columns.size()) * (cell.width + gap) - gap};
  sheet.pixels.assign(static_cast<size_t>(3 * sheet.height * sheet.width), 255);
  cv::Mat pixels = pixels_of(sheet);
  const auto left = [&](size_t column) { return static_cast<int>(column) * (cell.width + gap); };
  for (size_t column = 0; column < columns.size(); ++column) write_words(pixels, columns[column], {left(column), 0, cell.width, line});
  int top = line;
  for (const SheetPart& part : parts) {
    write_words(pixels, part.heading, {0, top, static_cast<int>(sheet.width), line});
    top += line;
    for (const auto& row : part.rows) {
      SYNCDR_ASSERT(row.size() == columns.size(), "{} images for {} columns", row.size(), columns.size());
      for (size_t column = 0; column < row.size(); ++column)
        pixels_of(row[column]).copyTo(pixels({left(column), top, static_cast<int>(row[column].width), static_cast<int>(row[column].height)}));
      top += cell.height + gap;
    }
  }
  const auto bytes = data::encode(sheet, data::Codec::png);
  io::write_file(png, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace syncdr::translate
