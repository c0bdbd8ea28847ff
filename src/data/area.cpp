#include "syncdr/data/area.h"

#include <algorithm>
#include <opencv2/core/hal/intrin.hpp>
#include <utility>

#include "syncdr/core/error.h"

namespace syncdr::data {
namespace {

constexpr int weight_bits = 14;   // of one, so that a weight fits 16 bits with a sign
constexpr int fraction_bits = 7;  // of a pixel between the passes: 255 fits 16 bits with a sign, too
constexpr int64_t room = 8;       // values that may be read behind a row: a vector's

/// The source pixels under one pixel, in pairs, since processors multiply and add 16-bit numbers by pairs.
struct Span {
  int64_t first = 0;          // source pixel
  size_t begin = 0, end = 0;  // of its pairs of weights
};

/// One axis: which source pixels make which pixel.
struct Axis {
  int64_t first = 0, count = 0;  // the source pixels that are needed
  std::vector<Span> spans;
  std::vector<std::pair<int16_t, int16_t>> weights;

  /// Pixels [begin, begin + size) of `to`, which `from` source pixels become.
  Axis(int64_t from, int64_t to, int64_t begin, int64_t size) : first(begin * from / to), count(((begin + size) * from + to - 1) / to - first) {
    for (int64_t i = begin; i < begin + size; ++i) {
      // In units of 1 / to: the pixel covers [i * from, (i + 1) * from), source pixel j [j * to, (j + 1) * to).
      const auto until = [&](int64_t j) { return ((std::min((i + 1) * from, (j + 1) * to) - i * from) * (2 << weight_bits) + from) / (2 * from); };  // rounded
      Span span{.first = i * from / to, .begin = weights.size()};
      const int64_t last = ((i + 1) * from - 1) / to;
      int64_t before = 0;
      const auto next = [&](int64_t j) { return static_cast<int16_t>(-std::exchange(before, until(j)) + until(j)); };  // so that they add up to one
      for (int64_t j = span.first; j <= last; j += 2) {
        const int16_t weight = next(j);
        weights.emplace_back(weight, j < last ? next(j + 1) : int16_t{0});
      }
      span.end = weights.size();
      spans.push_back(span);
    }
  }
};

cv::v_int16x8 both(std::pair<int16_t, int16_t> weights) {
  return cv::v_reinterpret_as_s16(cv::v_setall_u32(static_cast<uint16_t>(weights.first) | uint32_t{static_cast<uint16_t>(weights.second)} << 16));
}

/// One row of the first pass: the mean of rows of bytes, with fraction_bits.
class Column {
 public:
  Column(const Axis& axis, const Span& span, const uint8_t* rows, int64_t stride) : axis_(axis), span_(span), rows_(rows), stride_(stride) {}

  void mean(int64_t bytes, int16_t* out) const {
    int64_t x = 0;
    for (; x + 16 <= bytes; x += 16) sixteen(x, out + x);
    for (; x < bytes; ++x) {
      int32_t sum = 0;
      pairs([&](const uint8_t* first, const uint8_t* second, std::pair<int16_t, int16_t> w) { sum += first[x] * w.first + second[x] * w.second; });
      out[x] = static_cast<int16_t>((sum + (1 << (weight_bits - fraction_bits - 1))) >> (weight_bits - fraction_bits));
    }
  }

 private:
  /// The last row of an odd number is its own partner, with weight 0.
  template <class Work> void pairs(const Work& work) const {
    const uint8_t* first = rows_ + span_.first * stride_;
    for (size_t i = span_.begin; i < span_.end; ++i, first += 2 * stride_)
      work(first, axis_.weights[i].second == 0 ? first : first + stride_, axis_.weights[i]);
  }

  void sixteen(int64_t x, int16_t* out) const {
    cv::v_int32x4 a = cv::v_setzero_s32(), b = a, c = a, d = a;
    pairs([&](const uint8_t* first, const uint8_t* second, std::pair<int16_t, int16_t> w) {
      const cv::v_int16x8 weights = both(w);
      cv::v_uint8x16 low, high;
      cv::v_zip(cv::v_load(first + x), cv::v_load(second + x), low, high);
      cv::v_uint16x8 e, f, g, h;
      cv::v_expand(low, e, f);
      cv::v_expand(high, g, h);
      a = cv::v_dotprod(cv::v_reinterpret_as_s16(e), weights, a);
      b = cv::v_dotprod(cv::v_reinterpret_as_s16(f), weights, b);
      c = cv::v_dotprod(cv::v_reinterpret_as_s16(g), weights, c);
      d = cv::v_dotprod(cv::v_reinterpret_as_s16(h), weights, d);
    });
    cv::v_store(out, cv::v_rshr_pack<weight_bits - fraction_bits>(a, b));
    cv::v_store(out + 8, cv::v_rshr_pack<weight_bits - fraction_bits>(c, d));
  }

  const Axis& axis_;
  const Span& span_;
  const uint8_t* rows_;
  int64_t stride_;
};

/// The second pass, one row. `row` begins at source pixel axis.first and has `room` values behind it.
void mean_along(const Axis& axis, const int16_t* row, uint8_t* out) {
  constexpr int shift = weight_bits + fraction_bits;
  for (const Span& span : axis.spans) {
    const int16_t* pixel = row + (span.first - axis.first) * 3;
    cv::v_int32x4 sum = cv::v_setall_s32(1 << (shift - 1));
    for (size_t i = span.begin; i < span.end; ++i, pixel += 6) {
      cv::v_int16x8 pairs, others;
      cv::v_zip(cv::v_load(pixel), cv::v_load(pixel + 3), pairs, others);
      sum = cv::v_dotprod(pairs, both(axis.weights[i]), sum);
    }
    int32_t colours[4];
    cv::v_store(colours, sum >> shift);
    for (int c = 0; c < 3; ++c) *out++ = static_cast<uint8_t>(colours[c]);
  }
}

}  // namespace

Image shrink(const Image& image, ImageSize size, const Cut& cut) {
  SYNCDR_ASSERT(size.height > 0 && size.width > 0 && size.height <= image.height && size.width <= image.width, "{}x{} pixels cannot be shrunk to {}x{}",
                image.width, image.height, size.width, size.height);
  SYNCDR_ASSERT(cut.left >= 0 && cut.top >= 0 && cut.height > 0 && cut.width > 0 && cut.left + cut.width <= size.width && cut.top + cut.height <= size.height,
                "{}x{} pixels from {}, {} are not within {}x{}", cut.width, cut.height, cut.left, cut.top, size.width, size.height);
  const Axis down(image.height, size.height, cut.top, cut.height), along(image.width, size.width, cut.left, cut.width);
  Image shrunk{cut.height, cut.width, {}};
  shrunk.pixels.resize(static_cast<size_t>(cut.height * cut.width * 3));
  // A pair of pixels may reach one pixel beyond the last, with weight 0.
  std::vector<int16_t> row(static_cast<size_t>((along.count + 1) * 3 + room));
  for (size_t y = 0; y < down.spans.size(); ++y) {
    Column(down, down.spans[y], image.pixels.data() + along.first * 3, image.width * 3).mean(along.count * 3, row.data());
    mean_along(along, row.data(), shrunk.pixels.data() + y * static_cast<size_t>(cut.width) * 3);
  }
  return shrunk;
}

}  // namespace syncdr::data
