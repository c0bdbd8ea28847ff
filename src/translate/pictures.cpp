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

}  // namespace

void fill_planes(const data::Image& image, at::Tensor planes) {
  const auto side = static_cast<int>(planes.size(1));
  SYNCDR_ASSERT(planes.size(2) == side, "planes are [3, S, S]");
  // OpenCV's constructor takes no const pixels; nothing below writes to them.
  cv::Mat pixels(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, const_cast<uint8_t*>(image.pixels.data()));
  cv::Mat fitted = pixels;
  if (image.height != side || image.width != side) {
    const bool shrinks = image.height >= side && image.width >= side;
    cv::resize(pixels, fitted, {side, side}, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
  }
  cv::split(fitted, channels_of(planes).data());
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
