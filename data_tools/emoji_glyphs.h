#pragma once
#include <cstdint>
#include <filesystem>
#include <opencv2/core.hpp>
#include <vector>

/// The pictures of the emoji set before any render: each code point as a colour picture and as an ink drawing.
namespace syncdr::data_tools {

/// A glyph cropped to what it paints and fitted, centred, to 86 % of a square frame.
struct Master {
  cv::Mat colour;  ///< [S, S] 8UC3 RGB, not multiplied by coverage; black where nothing is painted
  cv::Mat cover;   ///< [S, S] 8UC1 coverage
};

struct Glyph {
  uint32_t code_point = 0;
  Master colour, ink;
};

struct Fonts {
  std::filesystem::path colour, ink;
};

/// The named fonts, or where a path is empty the ones that Debian installs. Throws DataError naming the Debian package of a font that is
/// missing.
Fonts find_fonts(const std::filesystem::path& colour, const std::filesystem::path& ink);

/// The code points that both fonts draw, in rising order: above U+00A8, without those that only change or join their neighbours.
/// side: of the masters. Throws DataError if a font cannot be read, the colour font has no bitmaps, or nothing is common to both.
std::vector<Glyph> read_glyphs(const Fonts& fonts, int side);

/// The code points that the colour font draws and the ink font has not (in_ink: the reverse), with that one master, in rising order.
std::vector<Glyph> read_lone_glyphs(const Fonts& fonts, int side, bool in_ink);

}  // namespace syncdr::data_tools
