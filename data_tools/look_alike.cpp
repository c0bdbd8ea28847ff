#include "look_alike.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace syncdr::data_tools {

uint64_t look_of(const data::Image& image) {
  const cv::Mat whole(static_cast<int>(image.height), static_cast<int>(image.width), CV_8UC3, const_cast<uint8_t*>(image.pixels.data()));
  cv::Mat small, grey, frequencies;
  cv::resize(whole, small, cv::Size(32, 32), 0, 0, cv::INTER_AREA);
  cv::cvtColor(small, grey, cv::COLOR_RGB2GRAY);
  grey.convertTo(grey, CV_32F);
  cv::dct(grey, frequencies);
  std::array<float, 64> low{};  // rows and columns 1 to 8: without the mean along either side
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) low[static_cast<size_t>(y * 8 + x)] = frequencies.at<float>(y + 1, x + 1);
  std::array<float, 64> sorted = low;
  std::nth_element(sorted.begin(), sorted.begin() + 32, sorted.end());
  const float median = sorted[32];
  // Rounding alone may give a picture of one colour a pattern.
  if (*std::max_element(low.begin(), low.end()) - *std::min_element(low.begin(), low.end()) < 1) return 0;
  uint64_t look = 0;
  for (size_t i = 0; i < low.size(); ++i) look |= uint64_t{low[i] >= median} << i;
  return look;
}

std::vector<std::pair<uint32_t, uint32_t>> look_alikes(const std::vector<uint64_t>& looks, size_t most,
                                                       const std::function<bool(uint32_t first, uint32_t second)>& wanted) {
  constexpr int most_bits = 3;
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  std::vector<uint32_t> order(looks.size());
  std::iota(order.begin(), order.end(), uint32_t{0});
  for (int quarter = 0; quarter < 4 && pairs.size() < most; ++quarter) {
    const auto part = [&](uint32_t i) { return looks[i] >> (quarter * 16) & 0xFFFF; };
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return part(a) != part(b) ? part(a) < part(b) : a < b; });
    for (size_t first = 0; first < order.size() && pairs.size() < most; ++first) {
      const uint32_t i = order[first];
      if (looks[i] == 0) continue;
      for (size_t other = first + 1; other < order.size() && part(order[other]) == part(i) && pairs.size() < most; ++other) {
        const uint32_t j = order[other];
        if (looks[j] == 0 || std::popcount(looks[i] ^ looks[j]) > most_bits || !wanted(i, j)) continue;
        const auto same_quarter = [&](int before) { return ((looks[i] ^ looks[j]) >> (before * 16) & 0xFFFF) == 0; };
        bool found_before = false;
        for (int before = 0; before < quarter; ++before) found_before = found_before || same_quarter(before);
        if (!found_before) pairs.emplace_back(i, j);
      }
    }
  }
  std::sort(pairs.begin(), pairs.end());
  return pairs;
}

}  // namespace syncdr::data_tools
