#include "syncdr/kernels/flash_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <cmath>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

int64_t rounded_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// One head of one sample.
struct HeadCall {
  const float *query, *key, *value;                // [N, D], [L, D], [L, D]
  int64_t query_stride, key_stride, value_stride;  // floats from row to row
  float* output;                                   // [N, D], output_stride floats from row to row
  int64_t output_stride, queries, keys, width;     // N, L, D
  float scale;

  int64_t padded_keys() const { return rounded_up(keys, panel); }
  /// Floats from row to row of the scores: not a multiple of 4 KB, or all rows would share one set of the first-level cache.
  int64_t score_stride() const { return padded_keys() + 16; }
  int64_t padded_width() const { return rounded_up(width, 16); }
  int64_t floats() const { return padded_keys() * (width + padded_width()) + 12 * (score_stride() + width + padded_width()); }
};

#ifdef SYNCDR_HAS_VECTORS

/// [keys / panel][width][panel], zeros behind the last key.
SYNCDR_INLINE void pack_keys(const HeadCall& call, float* to) {
  for (int64_t first = 0; first < call.keys; first += panel) {
    for (int64_t d = 0; d < call.width; ++d) {
      for (int64_t j = 0; j < panel; ++j) *to++ = first + j < call.keys ? call.key[(first + j) * call.key_stride + d] : 0.f;
    }
  }
}

/// [keys][padded width], zeros behind the width.
SYNCDR_INLINE void pack_values(const HeadCall& call, float* to) {
  for (int64_t row = 0; row < call.keys; ++row) {
    for (int64_t d = 0; d < call.padded_width(); ++d) *to++ = d < call.width ? call.value[row * call.value_stride + d] : 0.f;
  }
}

/// W::rows queries times the scale; rows behind the last query repeat it.
template <class W> SYNCDR_INLINE void pack_queries(const HeadCall& call, int64_t first, float* to) {
  for (int64_t row = 0; row < W::rows; ++row) {
    const int64_t from = first + row < call.queries ? first + row : call.queries - 1;
    for (int64_t d = 0; d < call.width; ++d) *to++ = call.query[from * call.query_stride + d] * call.scale;
  }
}

template <class W> SYNCDR_INLINE float largest(typename W::Vector values) {
  float most = values[0];
  for (int64_t i = 1; i < W::size; ++i) most = values[i] > most ? values[i] : most;
  return most;
}

template <class W> SYNCDR_INLINE float total(typename W::Vector values) {
  float sum = 0;
  for (int64_t i = 0; i < W::size; ++i) sum += values[i];
  return sum;
}

/// scores [length] -> e^(score - the largest), and 1 / their sum.
template <class W> SYNCDR_INLINE float exponentiate(float* scores, int64_t keys, int64_t length) {
  for (int64_t i = keys; i < length; ++i) scores[i] = -INFINITY;
  auto most = load<W>(scores);
  for (int64_t i = W::size; i < length; i += W::size) {
    const auto values = load<W>(scores + i);
    most = values > most ? values : most;
  }
  const float shift = largest<W>(most);
  typename W::Vector sum{};
  for (int64_t i = 0; i < length; i += W::size) {
    const auto values = exponential<W>(load<W>(scores + i) - shift);
    sum += values;
    store<W>(scores + i, values);
  }
  return 1.f / total<W>(sum);
}

/// mixed [W::rows, padded width] = scores times values.
template <class W> SYNCDR_INLINE void mix(const HeadCall& call, const float* scores, const float* values, float* mixed) {
  const int64_t width = call.padded_width();
  int64_t d = 0;
  for (; d + 2 * W::size <= width; d += 2 * W::size) multiply_block<W, W::rows, 2>(scores, call.score_stride(), values + d, width, call.keys, mixed + d, width);
  for (; d < width; d += W::size) multiply_block<W, W::rows, 1>(scores, call.score_stride(), values + d, width, call.keys, mixed + d, width);
}

template <class W> SYNCDR_INLINE void attend_head(const HeadCall& call, float* memory) {
  const int64_t keys = call.padded_keys(), width = call.padded_width(), stride = call.score_stride();
  float *packed_keys = memory, *values = packed_keys + keys * call.width, *scores = values + keys * width;
  float *queries = scores + W::rows * stride, *mixed = queries + W::rows * call.width;
  pack_keys(call, packed_keys);
  pack_values(call, values);
  for (int64_t first = 0; first < call.queries; first += W::rows) {
    pack_queries<W>(call, first, queries);
    for (int64_t key = 0; key < keys; key += 2 * W::size) {
      const float* right = packed_keys + key / panel * panel * call.width + key % panel;
      multiply_block<W, W::rows, 2>(queries, call.width, right, panel, call.width, scores + key, stride);
    }
    float factors[W::rows];
    for (int64_t row = 0; row < W::rows; ++row) factors[row] = exponentiate<W>(scores + row * stride, call.keys, keys);
    mix<W>(call, scores, values, mixed);
    for (int64_t row = 0; row < W::rows && first + row < call.queries; ++row) {
      for (int64_t d = 0; d < call.width; ++d) call.output[(first + row) * call.output_stride + d] = mixed[row * width + d] * factors[row];
    }
  }
}

SYNCDR_AVX512 void attend_wide(const HeadCall& call, float* memory) { attend_head<Wide>(call, memory); }
SYNCDR_AVX2 void attend_narrow(const HeadCall& call, float* memory) { attend_head<Narrow>(call, memory); }
void attend(const HeadCall& call, float* memory) { (registers() == Registers::wide ? attend_wide : attend_narrow)(call, memory); }

#else
void attend(const HeadCall&, float*) {}  // attention_takes nothing
#endif

HeadCall head_call(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& output, int64_t sample, int64_t head) {
  const auto at_head = [&](const at::Tensor& all) { return all.const_data_ptr<float>() + sample * all.stride(0) + head * all.stride(1); };
  const int64_t width = query.size(3), row = query.size(1) * width;
  return {.query = at_head(query),
          .key = at_head(key),
          .value = at_head(value),
          .query_stride = query.stride(2),
          .key_stride = key.stride(2),
          .value_stride = value.stride(2),
          .output = output.mutable_data_ptr<float>() + sample * query.size(2) * row + head * width,
          .output_stride = row,
          .queries = query.size(2),
          .keys = key.size(2),
          .width = width,
          .scale = float(1 / std::sqrt(double(width)))};
}

}  // namespace

bool attention_takes(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  return registers() != Registers::none && query.size(2) >= 64 && query.stride(3) == 1 && key.stride(3) == 1 && value.stride(3) == 1;
}

at::Tensor flash_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const int64_t batch = query.size(0), heads = query.size(1);
  at::Tensor output = at::empty({batch, query.size(2), heads * query.size(3)}, query.options());
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    at::Tensor memory;
    for (int64_t i = begin; i < end; ++i) {
      const HeadCall call = head_call(query, key, value, output, i / heads, i % heads);
      if (!memory.defined()) memory = at::empty({call.floats()}, query.options());
      attend(call, memory.mutable_data_ptr<float>());
    }
  });
  return output;
}

}  // namespace syncdr::kernels
