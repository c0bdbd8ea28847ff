#include "filter_translator.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/Parallel.h>

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "syncdr/core/error.h"

namespace syncdr::translate {
namespace {

constexpr double quantile = 0.96, floor_of_scale = 0.03;

/// Replaces each value of `strongest` by the gradient's magnitude of this channel where that is larger.
void take_gradient(const uint8_t* plane, int side, double sigma, cv::Mat& strongest) {
  cv::Mat channel;
  // OpenCV's constructor takes no const pixels; convertTo only reads them.
  cv::Mat(side, side, CV_8U, const_cast<uint8_t*>(plane)).convertTo(channel, CV_32F, 1.0 / 255);
  cv::GaussianBlur(channel, channel, {}, sigma, sigma, cv::BORDER_REPLICATE);
  cv::Mat dx, dy, magnitude;
  cv::Sobel(channel, dx, CV_32F, 1, 0, 1, 0.5, 0, cv::BORDER_REPLICATE);  // an aperture of 1 is the central difference
  cv::Sobel(channel, dy, CV_32F, 0, 1, 1, 0.5, 0, cv::BORDER_REPLICATE);
  cv::magnitude(dx, dy, magnitude);
  cv::max(strongest, magnitude, strongest);
}

/// Linear interpolation between neighbours in order, as numpy's default.
double quantile_of(const cv::Mat& values) {
  std::vector<float> sorted(values.begin<float>(), values.end<float>());
  const double place = quantile * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<int64_t>(place);
  std::nth_element(sorted.begin(), sorted.begin() + below, sorted.end());
  const double low = sorted[static_cast<size_t>(below)];
  if (static_cast<size_t>(below) + 1 == sorted.size()) return low;
  const double high = *std::min_element(sorted.begin() + below + 1, sorted.end());
  return low + (place - static_cast<double>(below)) * (high - low);
}

/// [3, S, S] uint8 -> the same.
void draw_lines(const uint8_t* planes, uint8_t* out, int side, double sigma) {
  const auto area = static_cast<size_t>(side) * static_cast<size_t>(side);
  cv::Mat strongest = cv::Mat::zeros(side, side, CV_32F);
  for (size_t channel = 0; channel < 3; ++channel) take_gradient(planes + channel * area, side, sigma, strongest);
  const double scale = quantile_of(strongest) + floor_of_scale;
  const auto* magnitude = strongest.ptr<float>();
  for (size_t i = 0; i < area; ++i) out[i] = static_cast<uint8_t>(std::lround(255 * (1 - std::min(1.0, magnitude[i] / scale))));
  std::copy_n(out, area, out + area);
  std::copy_n(out, area, out + 2 * area);
}

}  // namespace

Translated FilterTranslator::translate(const at::Tensor& images, std::span<const Request>) {
  SYNCDR_ASSERT(images.dim() == 4 && images.size(0) == batch_ && images.size(3) == size_, "the filter is called with its own batch and size");
  const auto input = images.contiguous();
  auto output = at::empty_like(input);
  const auto* from = input.data_ptr<uint8_t>();
  auto* to = output.data_ptr<uint8_t>();
  const auto stride = input.stride(0);
  at::parallel_for(0, batch_, 1, [&](int64_t first, int64_t last) {
    for (auto i = first; i < last; ++i) draw_lines(from + i * stride, to + i * stride, static_cast<int>(size_), config_.sigma);
  });
  return {output, at::ones({batch_}, at::kBool)};
}

std::map<std::string, std::string> FilterTranslator::provenance() const {
  return {{"translator", "filter"}, {"size", std::to_string(size_)}, {"sigma", fmt::format("{}", config_.sigma)}, {"device", "cpu"}};
}

}  // namespace syncdr::translate
