#include "pictures.h"

#include <array>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "syncdr/core/error.h"

namespace syncdr::translate {
namespace {

/// Planes [3, H, W] as OpenCV sees them, not copied.
std::array<cv::Mat, 3> channels_of(const at::Tensor& planes) {
  SYNCDR_ASSERT(planes.is_contiguous() && planes.dim() == 3 && planes.size(0) == 3, "planes are [3, H, W]");
  const auto channel = [&](int64_t c) {
    return cv::Mat(static_cast<int>(planes.size(1)), static_cast<int>(planes.size(2)), CV_8U, planes.data_ptr<uint8_t>() + c * planes.stride(0));
  };
  return {channel(0), channel(1), channel(2)};
}

/// Rows of pixels with so many channels, of the given side; not copied where they have it.
cv::Mat fitted(const std::vector<uint8_t>& values, int64_t height, int64_t width, int channels, int side) {
  // OpenCV's constructor takes no const pixels; nothing writes to them.
  cv::Mat pixels(static_cast<int>(height), static_cast<int>(width), CV_8UC(channels), const_cast<uint8_t*>(values.data()));
  if (height == side && width == side) return pixels;
  const bool shrinks = height >= side && width >= side;
  cv::Mat resized;
  cv::resize(pixels, resized, {side, side}, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
  return resized;
}

}  // namespace

void fill_planes(const data::Image& image, at::Tensor planes) {
  SYNCDR_ASSERT(planes.size(1) == planes.size(2), "planes are [3, S, S]");
  cv::split(fitted(image.pixels, image.height, image.width, 3, static_cast<int>(planes.size(1))), channels_of(planes).data());
}

void fill_mask(const std::vector<uint8_t>& values, int64_t height, int64_t width, at::Tensor plane) {
  SYNCDR_ASSERT(plane.is_contiguous() && plane.dim() == 2 && plane.size(0) == plane.size(1), "a plane is [S, S]");
  const auto side = static_cast<int>(plane.size(0));
  cv::threshold(fitted(values, height, width, 1, side), cv::Mat(side, side, CV_8U, plane.data_ptr<uint8_t>()), 127, 255, cv::THRESH_BINARY);
}

data::Image to_image(const at::Tensor& planes) {
  data::Image image{.height = planes.size(1), .width = planes.size(2)};
  image.pixels.resize(static_cast<size_t>(planes.numel()));
  cv::Mat pixels(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, image.pixels.data());
  cv::merge(channels_of(planes).data(), 3, pixels);
  return image;
}

int64_t contrast(const at::Tensor& planes) { return (planes.amax({1, 2}) - planes.amin({1, 2})).max().item<int64_t>(); }

}  // namespace syncdr::translate
