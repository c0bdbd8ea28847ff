#include "emoji_glyphs.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_OUTLINE_H

#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>
#include <optional>

#include "syncdr/core/error.h"

namespace syncdr::data_tools {
namespace {

constexpr double fitted_share = 0.86;  // of the frame's side, for the glyph's longer side

struct FontPlace {
  const char* option;
  const char* package;
  std::vector<std::filesystem::path> files;
};

std::filesystem::path find_font(const std::filesystem::path& given, const FontPlace& place) {
  if (!given.empty()) {
    if (std::filesystem::is_regular_file(given)) return given;
    throw core::DataError("{}: no such font file ({})", given.string(), place.option);
  }
  for (const auto& file : place.files) {
    if (std::filesystem::is_regular_file(file)) return file;
  }
  throw core::DataError("{} is not installed: apt-get install {}, or name the font file with {}", place.files.front().filename().string(), place.package,
                        place.option);
}

/// FreeType's library and face, released together.
class Face {
 public:
  explicit Face(const std::filesystem::path& path) : path_(path) {
    if (FT_Init_FreeType(&library_) != 0) throw core::IoError("FreeType does not start");
    if (FT_New_Face(library_, path.c_str(), 0, &face_) != 0) {
      FT_Done_FreeType(library_);
      throw core::DataError("{}: FreeType cannot read this font", path.string());
    }
  }
  ~Face() {
    FT_Done_Face(face_);
    FT_Done_FreeType(library_);
  }
  Face(const Face&) = delete;
  Face& operator=(const Face&) = delete;

  FT_Face get() const { return face_; }
  const std::filesystem::path& path() const { return path_; }
  bool has(uint32_t code_point) const { return FT_Get_Char_Index(face_, code_point) != 0; }
  std::vector<uint32_t> code_points() const {
    std::vector<uint32_t> all;
    FT_UInt glyph = 0;
    for (FT_ULong code = FT_Get_First_Char(face_, &glyph); glyph != 0; code = FT_Get_Next_Char(face_, code, &glyph)) all.push_back(static_cast<uint32_t>(code));
    return all;
  }

 private:
  std::filesystem::path path_;
  FT_Library library_ = nullptr;
  FT_Face face_ = nullptr;
};

/// Code points that draw nothing of their own: they join or change their neighbours, or are halves of a flag.
bool stands_alone(uint32_t code) {
  const auto in = [code](uint32_t first, uint32_t last) { return first <= code && code <= last; };
  const bool joins = in(0x200B, 0x200F) || code == 0x20E3 || in(0xFE00, 0xFE0F) || in(0xE0000, 0xE01EF);
  const bool flag_half = in(0x1F1E6, 0x1F1FF), skin_tone = in(0x1F3FB, 0x1F3FF);
  return code > 0xA8 && !joins && !flag_half && !skin_tone;
}

void select_bitmaps(const Face& colour) {
  if (!FT_HAS_COLOR(colour.get()) || colour.get()->num_fixed_sizes < 1 || FT_Select_Size(colour.get(), 0) != 0)
    throw core::DataError("{}: the font has no colour bitmaps; the set needs Debian's fonts-noto-color-emoji", colour.path().string());
}

/// Cuts RGBA [H, W], colours multiplied by coverage, to what it paints, fits it to a frame. Nothing painted: no master.
std::optional<Master> fit(const cv::Mat& premultiplied, int side) {
  std::vector<cv::Mat> planes;
  cv::split(premultiplied, planes);
  const cv::Rect box = cv::boundingRect(planes[3]);
  if (box.empty()) return std::nullopt;

  const double scale = fitted_share * side / std::max(box.width, box.height);
  const cv::Size size(std::max(1, static_cast<int>(std::lround(box.width * scale))), std::max(1, static_cast<int>(std::lround(box.height * scale))));
  cv::Mat frame = cv::Mat::zeros(side, side, CV_8UC4);
  cv::resize(premultiplied(box), frame(cv::Rect((side - size.width) / 2, (side - size.height) / 2, size.width, size.height)), size, 0, 0,
             scale < 1 ? cv::INTER_AREA : cv::INTER_LINEAR);

  // Colours are interpolated while multiplied by coverage, so that what lies beyond the edge does not bleed in, and divided by it only
  // here.
  Master master{cv::Mat(side, side, CV_8UC3), cv::Mat(side, side, CV_8UC1)};
  frame.forEach<cv::Vec4b>([&](cv::Vec4b& pixel, const int* at) {
    const int cover = pixel[3];
    master.cover.at<uint8_t>(at) = pixel[3];
    for (int c = 0; c < 3; ++c) master.colour.at<cv::Vec3b>(at)[c] = cover == 0 ? uint8_t{0} : cv::saturate_cast<uint8_t>(pixel[c] * 255.0 / cover);
  });
  return master;
}

/// The embedded bitmap of the colour font: BGRA, multiplied by coverage.
std::optional<Master> colour_master(const Face& face, uint32_t code, int side) {
  if (FT_Load_Char(face.get(), code, FT_LOAD_COLOR) != 0) return std::nullopt;
  const FT_Bitmap& bitmap = face.get()->glyph->bitmap;
  if (bitmap.pixel_mode != FT_PIXEL_MODE_BGRA || bitmap.rows == 0 || bitmap.width == 0) return std::nullopt;
  const cv::Mat bgra(static_cast<int>(bitmap.rows), static_cast<int>(bitmap.width), CV_8UC4, bitmap.buffer, static_cast<size_t>(bitmap.pitch));
  cv::Mat rgba;
  cv::cvtColor(bgra, rgba, cv::COLOR_BGRA2RGBA);
  return fit(rgba, side);
}

/// The outline of the ink font, in black; drawn at twice the frame so that fitting it averages fine lines instead of dropping them.
std::optional<Master> ink_master(const Face& face, uint32_t code, int side) {
  FT_GlyphSlot slot = face.get()->glyph;
  if (FT_Load_Char(face.get(), code, FT_LOAD_NO_SCALE | FT_LOAD_NO_HINTING) != 0 || slot->format != FT_GLYPH_FORMAT_OUTLINE) return std::nullopt;
  FT_BBox box;
  FT_Outline_Get_CBox(&slot->outline, &box);
  const auto longest = static_cast<double>(std::max(box.xMax - box.xMin, box.yMax - box.yMin));
  if (longest <= 0) return std::nullopt;

  const double em = 2.0 * fitted_share * side * face.get()->units_per_EM / longest;
  if (em > 20'000) return std::nullopt;  // a dot: FreeType's sizes end at 65,535
  if (FT_Set_Char_Size(face.get(), 0, std::lround(em * 64), 72, 72) != 0) return std::nullopt;
  if (FT_Load_Char(face.get(), code, FT_LOAD_RENDER | FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP) != 0) return std::nullopt;
  const FT_Bitmap& bitmap = slot->bitmap;
  if (bitmap.pixel_mode != FT_PIXEL_MODE_GRAY || bitmap.rows == 0 || bitmap.width == 0) return std::nullopt;
  const cv::Mat cover(static_cast<int>(bitmap.rows), static_cast<int>(bitmap.width), CV_8UC1, bitmap.buffer, static_cast<size_t>(bitmap.pitch));
  const cv::Mat black = cv::Mat::zeros(cover.size(), CV_8UC1);
  cv::Mat rgba;
  cv::merge(std::vector<cv::Mat>{black, black, black, cover}, rgba);
  return fit(rgba, side);
}

}  // namespace

Fonts find_fonts(const std::filesystem::path& colour, const std::filesystem::path& ink) {
  const std::filesystem::path fonts = "/usr/share/fonts/truetype";
  return {find_font(colour, {"--colour-font", "fonts-noto-color-emoji", {fonts / "noto/NotoColorEmoji.ttf"}}),
          find_font(ink, {"--ink-font",
                          "fonts-symbola",
                          {fonts / "ancient-scripts/Symbola_hint.ttf", fonts / "ancient-scripts/Symbola.ttf", fonts / "symbola/Symbola.ttf"}})};
}

std::vector<Glyph> read_lone_glyphs(const Fonts& fonts, int side, bool in_ink) {
  const Face colour(fonts.colour), ink(fonts.ink);
  select_bitmaps(colour);
  std::vector<Glyph> glyphs;
  for (const uint32_t code : (in_ink ? ink : colour).code_points()) {
    if (!stands_alone(code) || (in_ink ? colour : ink).has(code)) continue;
    auto master = in_ink ? ink_master(ink, code, side) : colour_master(colour, code, side);
    if (!master) continue;
    Glyph& glyph = glyphs.emplace_back(Glyph{.code_point = code});
    (in_ink ? glyph.ink : glyph.colour) = std::move(*master);
  }
  return glyphs;
}

std::vector<Glyph> read_glyphs(const Fonts& fonts, int side) {
  const Face colour(fonts.colour), ink(fonts.ink);
  select_bitmaps(colour);
  std::vector<Glyph> glyphs;
  for (const uint32_t code : colour.code_points()) {
    if (!stands_alone(code) || !ink.has(code)) continue;
    auto in_colour = colour_master(colour, code, side), in_ink = ink_master(ink, code, side);
    if (in_colour && in_ink) glyphs.push_back({code, std::move(*in_colour), std::move(*in_ink)});
  }
  if (glyphs.size() < 2) throw core::DataError("{} and {} have {} drawable code points in common", fonts.colour.string(), fonts.ink.string(), glyphs.size());
  return glyphs;
}

}  // namespace syncdr::data_tools
