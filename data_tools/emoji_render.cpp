#include "emoji_render.h"

#include <cmath>
#include <numbers>
#include <opencv2/imgproc.hpp>

#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/io/hash.h"

namespace syncdr::data_tools {
namespace {

core::Random stream(uint64_t seed, const std::string& key) { return core::Random(seed, core::Purpose::render, io::hash64(key)); }

/// From the picture's pixels to the master's, both [side, side]: turned, made smaller and shifted about the centre.
cv::Matx23d draw_pose(core::Random& random, int side) {
  const double turn = random.uniform(-15, 15) * std::numbers::pi / 180;
  const double shrink = 1 / random.uniform(0.78, 1);
  const double shift_x = random.uniform(-0.06, 0.06) * side, shift_y = random.uniform(-0.06, 0.06) * side;
  const double c = shrink * std::cos(turn), s = shrink * std::sin(turn), centre = (side - 1) / 2.0;
  const double x = centre + shift_x, y = centre + shift_y;
  return {c, -s, centre - c * x + s * y, s, c, centre - s * x - c * y};
}

cv::Vec3d draw_background(core::Random& random) {
  cv::Vec3d tint;
  for (int c = 0; c < 3; ++c) tint[c] = random.uniform(215, 255);
  return tint;
}

/// Hue, saturation and value changed; OpenCV counts hue in 180 steps of 2 degrees.
cv::Mat jitter_colour(const cv::Mat& colour, core::Random& random) {
  const int hue = static_cast<int>(random.below(19)) - 9;
  const double saturation = random.uniform(0.75, 1.25), value = random.uniform(0.85, 1.15);
  cv::Mat hsv, result;
  cv::cvtColor(colour, hsv, cv::COLOR_RGB2HSV);
  hsv.forEach<cv::Vec3b>([&](cv::Vec3b& p, const int*) {
    p = {static_cast<uint8_t>((p[0] + hue + 180) % 180), cv::saturate_cast<uint8_t>(p[1] * saturation), cv::saturate_cast<uint8_t>(p[2] * value)};
  });
  cv::cvtColor(hsv, result, cv::COLOR_HSV2RGB);
  return result;
}

/// Lays the picture over the background in the master's resolution and averages it down to [size, size].
data::Image compose(const cv::Mat& colour, const cv::Mat& cover, const cv::Matx23d& pose, const cv::Vec3d& background, int size) {
  cv::Mat painted(cover.size(), CV_8UC3), frame;
  painted.forEach<cv::Vec3b>([&](cv::Vec3b& p, const int* at) {
    const double share = cover.at<uint8_t>(at) / 255.0;
    const cv::Vec3b& own = colour.at<cv::Vec3b>(at);
    for (int c = 0; c < 3; ++c) p[c] = cv::saturate_cast<uint8_t>(own[c] * share + background[c] * (1 - share));
  });
  const cv::Scalar beyond(std::lround(background[0]), std::lround(background[1]), std::lround(background[2]));
  cv::warpAffine(painted, frame, pose, painted.size(), cv::INTER_LINEAR | cv::WARP_INVERSE_MAP, cv::BORDER_CONSTANT, beyond);

  data::Image image{size, size, std::vector<uint8_t>(static_cast<size_t>(size) * static_cast<size_t>(size) * 3)};
  cv::Mat target(size, size, CV_8UC3, image.pixels.data());
  cv::resize(frame, target, target.size(), 0, 0, cv::INTER_AREA);
  SYNCDR_ASSERT(target.data == image.pixels.data(), "OpenCV made a picture of its own");
  return image;
}

}  // namespace

data::Image render_colour(const Master& master, int size, uint64_t seed, const std::string& key) {
  core::Random random = stream(seed, key);
  const cv::Matx23d pose = draw_pose(random, master.cover.rows);
  const cv::Vec3d background = draw_background(random);
  return compose(jitter_colour(master.colour, random), master.cover, pose, background, size);
}

data::Image render_ink(const Master& master, int size, uint64_t seed, const std::string& key) {
  core::Random random = stream(seed, key);
  const cv::Matx23d pose = draw_pose(random, master.cover.rows);
  const cv::Vec3d background = draw_background(random);
  const int grown = static_cast<int>(random.below(3));
  cv::Mat cover;
  cv::dilate(master.cover, cover, cv::getStructuringElement(cv::MORPH_ELLIPSE, {2 * grown + 1, 2 * grown + 1}));
  return compose(master.colour, cover, pose, background, size);
}

}  // namespace syncdr::data_tools
