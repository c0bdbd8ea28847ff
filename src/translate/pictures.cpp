#include "pictures.h"

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "syncdr/core/error.h"

namespace syncdr::translate {

void fill_planes(const data::Image& image, at::Tensor planes) {
  const auto side = static_cast<int>(planes.size(1));
  SYNCDR_ASSERT(planes.is_contiguous() && planes.size(0) == 3 && planes.size(2) == side, "planes are [3, S, S]");
  // OpenCV's constructor takes no const pixels; nothing below writes to them.
  cv::Mat pixels(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, const_cast<uint8_t*>(image.pixels.data()));
  cv::Mat fitted = pixels;
  if (image.height != side || image.width != side) {
    const bool shrinks = image.height >= side && image.width >= side;
    cv::resize(pixels, fitted, {side, side}, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
  }
  auto* data = planes.data_ptr<uint8_t>();
  const auto area = static_cast<size_t>(side) * static_cast<size_t>(side);
  cv::Mat channels[3] = {{side, side, CV_8U, data}, {side, side, CV_8U, data + area}, {side, side, CV_8U, data + 2 * area}};
  cv::split(fitted, channels);
}

data::Image to_image(const at::Tensor& planes) {
  SYNCDR_ASSERT(planes.is_contiguous() && planes.dim() == 3 && planes.size(0) == 3, "planes are [3, H, W]");
  data::Image image{.height = planes.size(1), .width = planes.size(2)};
  const auto height = static_cast<int>(image.height), width = static_cast<int>(image.width);
  image.pixels.resize(static_cast<size_t>(planes.numel()));
  auto* data = planes.data_ptr<uint8_t>();
  const auto area = static_cast<size_t>(height) * static_cast<size_t>(width);
  const cv::Mat channels[3] = {{height, width, CV_8U, data}, {height, width, CV_8U, data + area}, {height, width, CV_8U, data + 2 * area}};
  cv::Mat pixels(height, width, CV_8UC3, image.pixels.data());
  cv::merge(channels, 3, pixels);
  return image;
}

int64_t contrast(const at::Tensor& planes) {
  const auto* data = planes.data_ptr<uint8_t>();
  const auto area = planes.size(1) * planes.size(2);
  int64_t largest = 0;
  for (int64_t channel = 0; channel < 3; ++channel) {
    const auto [low, high] = std::minmax_element(data + channel * area, data + (channel + 1) * area);
    largest = std::max<int64_t>(largest, *high - *low);
  }
  return largest;
}

}  // namespace syncdr::translate
