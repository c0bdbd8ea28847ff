#include "syncdr/data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

/// What one training view draws, in this order. All of it is drawn whatever the configuration says, so that switching one change on does not alter the
/// others.
struct Draws {
  const AugmentConfig& config;
  core::Random& random;
  bool flip = random.chance(config.flip);
  double angle = random.uniform(-config.rotation, config.rotation);  // degrees
  double scale = 1 + random.uniform(-config.scale, config.scale);    // factor
  double shift_x = random.uniform(-config.shift, config.shift);      // share of the side
  double shift_y = random.uniform(-config.shift, config.shift);
  double crop_x = random.uniform();  // share of the room for the crop
  double crop_y = random.uniform();
  bool grey = random.chance(config.grey);
  double contrast = 1 + random.uniform(-config.contrast, config.contrast);    // factor
  double brightness = random.uniform(-config.brightness, config.brightness);  // share of the range
  bool invert = random.chance(config.invert);
};

void check(const Image& image, const AugmentConfig& config) {
  check_sides(config, "augment");
  SYNCDR_ASSERT(image.height > 0 && image.width > 0 && image.pixels.size() == static_cast<size_t>(image.height * image.width * 3),
                "{} bytes of pixels for {} x {}", image.pixels.size(), image.width, image.height);
}

/// The image's pixels as OpenCV sees them, not copied and not to be written. Loader threads call in parallel, so OpenCV is to start none of
/// its own.
cv::Mat view(const Image& image) {
  static const bool single_threaded = (cv::setNumThreads(0), true);
  (void)single_threaded;
  return {static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, const_cast<uint8_t*>(image.pixels.data())};
}

/// Shrinks each axis by the whole part of what the warp would shrink it by: bilinear interpolation skips pixels from a factor of 2 on.
cv::Mat shrink_for_warp(const cv::Mat& source, double side) {
  const auto reduced = [side](int length) { return std::max(1, static_cast<int>(std::lround(length / std::max(1.0, std::floor(length / side))))); };
  const cv::Size size(reduced(source.cols), reduced(source.rows));
  if (size == source.size()) return source;
  cv::Mat small;
  cv::resize(source, small, size, 0, 0, cv::INTER_AREA);
  return small;
}

/// The matrix from the view's pixels to the source's; pixel centres lie at half integers, cv::warpAffine's at integers.
cv::Matx33d view_to_source(const Draws& draws, const AugmentConfig& config, cv::Size source) {
  const auto move = [](double x, double y) { return cv::Matx33d(1, 0, x, 0, 1, y, 0, 0, 1); };
  const auto stretch = [](double x, double y) { return cv::Matx33d(x, 0, 0, 0, y, 0, 0, 0, 1); };
  const double side = static_cast<double>(config.resize), crop = static_cast<double>(config.crop);
  const double room = side - crop + 1;  // whole-pixel places of the crop: a view without a warp stays unblurred
  const cv::Matx33d flip = draws.flip ? cv::Matx33d(-1, 0, crop, 0, 1, 0, 0, 0, 1) : cv::Matx33d::eye();
  const double turn = -draws.angle * std::numbers::pi / 180, c = std::cos(turn), s = std::sin(turn);
  const cv::Matx33d rotate(c, -s, 0, s, c, 0, 0, 0, 1);

  const cv::Matx33d to_frame = move(std::floor(draws.crop_x * room), std::floor(draws.crop_y * room)) * flip * move(0.5, 0.5);
  const cv::Matx33d about_centre =
      move(side / 2, side / 2) * stretch(1 / draws.scale, 1 / draws.scale) * rotate * move(-side / 2 - draws.shift_x * side, -side / 2 - draws.shift_y * side);
  return move(-0.5, -0.5) * stretch(source.width / side, source.height / side) * about_centre * to_frame;
}

/// Luma of ITU-R BT.601 in 8-bit fixed point; the weights add up to 256, so grey pixels stay as they are.
void make_grey(cv::Mat& pixels) {
  pixels.forEach<cv::Vec3b>([](cv::Vec3b& p, const int*) { p = cv::Vec3b::all(static_cast<uint8_t>((77 * p[0] + 150 * p[1] + 29 * p[2] + 128) >> 8)); });
}

/// Contrast about the picture's mean, brightness, negative: one linear map of all values, cut to 0..255.
void change_tone(cv::Mat& pixels, const Draws& draws) {
  if (draws.contrast == 1 && draws.brightness == 0 && !draws.invert) return;
  const cv::Scalar means = cv::mean(pixels);
  const double mean = (means[0] + means[1] + means[2]) / 3;
  const double factor = draws.contrast, offset = mean * (1 - factor) + 255 * draws.brightness;
  pixels.convertTo(pixels, CV_8U, draws.invert ? -factor : factor, draws.invert ? 255 - offset : offset);
}

}  // namespace

void check_sides(const AugmentConfig& config, const std::string& keys) {
  if (config.crop > config.resize) throw core::UsageError("{0}.crop = {1} is larger than {0}.resize = {2}", keys, config.crop, config.resize);
}

void augment(const Image& image, const AugmentConfig& config, core::Random random, uint8_t* out) {
  check(image, config);
  const Draws draws{config, random};
  const cv::Mat source = shrink_for_warp(view(image), static_cast<double>(config.resize) * draws.scale);
  const cv::Matx23d matrix = view_to_source(draws, config, source.size()).get_minor<2, 3>(0, 0);
  const int side = static_cast<int>(config.crop);
  cv::Mat target(side, side, CV_8UC3, out);
  cv::warpAffine(source, target, matrix, target.size(), cv::INTER_LINEAR | cv::WARP_INVERSE_MAP, cv::BORDER_REPLICATE);
  if (draws.grey) make_grey(target);
  change_tone(target, draws);
}

void evaluation_view(const Image& image, const AugmentConfig& config, uint8_t* out) {
  check(image, config);
  const int side = static_cast<int>(config.resize), crop = static_cast<int>(config.crop), offset = (side - crop) / 2;
  // cv::INTER_AREA averages only if both axes shrink: an axis that grows waits for the second, bilinear pass.
  cv::Mat frame = view(image);
  const cv::Size shrunk(std::min(frame.cols, side), std::min(frame.rows, side)), full(side, side);
  if (shrunk != frame.size()) cv::resize(cv::Mat(frame), frame, shrunk, 0, 0, cv::INTER_AREA);
  if (full != frame.size()) cv::resize(cv::Mat(frame), frame, full, 0, 0, cv::INTER_LINEAR);
  frame(cv::Rect(offset, offset, crop, crop)).copyTo(cv::Mat(crop, crop, CV_8UC3, out));
}

}  // namespace syncdr::data
