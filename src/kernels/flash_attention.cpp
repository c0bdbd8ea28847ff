#include "syncdr/kernels/flash_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <cmath>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

int64_t rounded_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// One head of one sample.
template <class T> struct HeadCall {
  const T *query, *key, *value;                    // [N, D], [L, D], [L, D]
  int64_t query_stride, key_stride, value_stride;  // values from row to row
  T* output;                                       // [N, D], output_stride values from row to row
  int64_t output_stride, queries, keys, width;     // N, L, D
  float scale;                                     // log2(e) / sqrt(D)

  int64_t padded_keys() const { return rounded_up(keys, panel); }
  /// Floats from row to row of the scores: not a multiple of 4 KB, or all rows would share one set of the first-level cache.
  int64_t score_stride() const { return padded_keys() + 16; }
  int64_t padded_width() const { return rounded_up(width, 16); }
  int64_t values() const { return padded_keys() * (width + padded_width()) + 12 * width; }
  int64_t floats() const { return 12 * (score_stride() + padded_width()); }
};

#ifdef SYNCDR_HAS_VECTORS

/// [keys / panel][width / together][panel][together], zeros behind the last key.
template <class T> SYNCDR_INLINE void pack_keys(const HeadCall<T>& call, T* to) {
  for (int64_t first = 0; first < call.keys; first += panel) {
    for (int64_t d = 0; d < call.width; d += together<T>) {
      for (int64_t j = 0; j < panel; ++j) {
        for (int64_t i = 0; i < together<T>; ++i) *to++ = first + j < call.keys ? call.key[(first + j) * call.key_stride + d + i] : T(0.f);
      }
    }
  }
}

/// [keys / together][padded width][together], zeros behind the width and the last key.
template <class T> SYNCDR_INLINE void pack_values(const HeadCall<T>& call, T* to) {
  for (int64_t row = 0; row < call.keys; row += together<T>) {
    for (int64_t d = 0; d < call.padded_width(); ++d) {
      for (int64_t i = 0; i < together<T>; ++i) *to++ = d < call.width && row + i < call.keys ? call.value[(row + i) * call.value_stride + d] : T(0.f);
    }
  }
}

/// The last queries, fewer than W::rows: the last one stands for those that are missing.
template <class W, class T> SYNCDR_INLINE void pack_queries(const HeadCall<T>& call, int64_t first, T* to) {
  for (int64_t row = 0; row < W::rows; ++row) {
    const int64_t from = first + row < call.queries ? first + row : call.queries - 1;
    for (int64_t d = 0; d < call.width; ++d) *to++ = call.query[from * call.query_stride + d];
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

/// scores [keys, rounded up] -> in their place 2^(scale * (score - the largest)), rounded to T, and 1 / their sum.
template <class W, class T> SYNCDR_INLINE float exponentiate(float* scores, float scale, int64_t keys) {
  const int64_t length = rounded_up(keys, W::size);
  if (length > keys) {  // whole registers: what is stored by values cannot be loaded at once
    typename W::Vector lanes, least = typename W::Vector{} - 1e30f;
    for (int64_t i = 0; i < W::size; ++i) lanes[i] = float(i);
    const int64_t last = length - W::size;
    store<W>(scores + last, lanes < float(keys - last) ? load<W>(scores + last) : least);
  }
  auto most = load<W>(scores);
  for (int64_t i = W::size; i < length; i += W::size) {
    const auto values = load<W>(scores + i);
    most = values > most ? values : most;
  }
  const float shift = scale * largest<W>(most);
  T* to = reinterpret_cast<T*>(scores);  // never ahead of what is read
  typename W::Vector sum{};
  for (int64_t i = 0; i < length; i += W::size) {
    const auto values = power_of_two<W, T>(load<W>(scores + i) * scale - shift);
    sum += values;
    store<W>(to + i, values);
  }
  return 1.f / total<W>(sum);
}

/// mixed [W::rows, padded width] = weights [W::rows, keys], which lie where the scores were, times values.
template <class W, class T> SYNCDR_INLINE void mix(const HeadCall<T>& call, const float* scores, const T* values, float* mixed) {
  const int64_t width = call.padded_width(), keys = rounded_up(call.keys, together<T>);
  const T* weights = reinterpret_cast<const T*>(scores);
  const auto block = [&]<int COLUMNS>(int64_t d) SYNCDR_INLINE_LAMBDA {
    multiply_block<W, W::rows, COLUMNS>(weights, call.score_stride() * together<T>, values + d * together<T>, width, keys,
                                        [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA { store<W>(mixed + row * width + d + column, sums); });
  };
  int64_t d = 0;
  for (; d + 2 * W::size <= width; d += 2 * W::size) block.template operator()<2>(d);
  for (; d < width; d += W::size) block.template operator()<1>(d);
}

/// to [width] = from times factor.
template <class W, class T> SYNCDR_INLINE void write_row(const float* from, float factor, int64_t width, T* to) {
  int64_t d = 0;
  for (; d + W::size <= width; d += W::size) store<W>(to + d, load<W>(from + d) * factor);
  for (; d < width; ++d) to[d] = from[d] * factor;
}

template <class W, class T> SYNCDR_INLINE void attend_head(const HeadCall<T>& call, T* memory, float* scores) {
  const int64_t keys = call.padded_keys(), width = call.padded_width(), stride = call.score_stride();
  T *packed_keys = memory, *values = packed_keys + keys * call.width, *queries = values + keys * width;
  float* mixed = scores + W::rows * stride;
  pack_keys(call, packed_keys);
  pack_values(call, values);
  for (int64_t first = 0; first < call.queries; first += W::rows) {
    const bool whole = first + W::rows <= call.queries;
    if (!whole) pack_queries<W>(call, first, queries);
    const T* rows = whole ? call.query + first * call.query_stride : queries;
    const int64_t row_stride = whole ? call.query_stride : call.width;
    for (int64_t key = 0; key < keys; key += panel) {
      multiply_panel<W>(rows, row_stride, packed_keys + key * call.width, call.width, W::rows,
                        [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA { store<W>(scores + row * stride + key + column, sums); });
    }
    float factors[W::rows];
    for (int64_t row = 0; row < W::rows; ++row) factors[row] = exponentiate<W, T>(scores + row * stride, call.scale, call.keys);
    mix<W>(call, scores, values, mixed);
    for (int64_t row = 0; row < W::rows && first + row < call.queries; ++row)
      write_row<W>(mixed + row * width, factors[row], call.width, call.output + (first + row) * call.output_stride);
  }
}

SYNCDR_AVX512 void attend_wide(const HeadCall<float>& call, float* memory, float* scores) { attend_head<Wide>(call, memory, scores); }
SYNCDR_AVX2 void attend_narrow(const HeadCall<float>& call, float* memory, float* scores) { attend_head<Narrow>(call, memory, scores); }
SYNCDR_AVX512_BF16 void attend(const HeadCall<c10::BFloat16>& call, c10::BFloat16* memory, float* scores) { attend_head<Wide>(call, memory, scores); }
void attend(const HeadCall<float>& call, float* memory, float* scores) { (registers() == Registers::wide ? attend_wide : attend_narrow)(call, memory, scores); }

#else
template <class T> void attend(const HeadCall<T>&, T*, float*) {}  // attention_takes nothing
#endif

template <class T>
HeadCall<T> head_call(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& output, int64_t sample, int64_t head) {
  const auto at_head = [&](const at::Tensor& all) { return all.const_data_ptr<T>() + sample * all.stride(0) + head * all.stride(1); };
  const int64_t width = query.size(3), row = query.size(1) * width;
  return {.query = at_head(query),
          .key = at_head(key),
          .value = at_head(value),
          .query_stride = query.stride(2),
          .key_stride = key.stride(2),
          .value_stride = value.stride(2),
          .output = output.mutable_data_ptr<T>() + sample * query.size(2) * row + head * width,
          .output_stride = row,
          .queries = query.size(2),
          .keys = key.size(2),
          .width = width,
          .scale = float(1 / (std::log(2.0) * std::sqrt(double(width))))};
}

template <class T> at::Tensor attended(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const int64_t batch = query.size(0), heads = query.size(1);
  at::Tensor output = at::empty({batch, query.size(2), heads * query.size(3)}, query.options());
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    at::Tensor memory, scores;
    for (int64_t i = begin; i < end; ++i) {
      const HeadCall<T> call = head_call<T>(query, key, value, output, i / heads, i % heads);
      if (!memory.defined()) {
        memory = at::empty({call.values()}, query.options());
        scores = at::empty({call.floats()}, at::kFloat);
      }
      attend(call, memory.mutable_data_ptr<T>(), scores.mutable_data_ptr<float>());
    }
  });
  return output;
}

}  // namespace

bool attention_takes(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const at::ScalarType type = query.scalar_type();
  if (!computes_in(type) || key.scalar_type() != type || value.scalar_type() != type) return false;
  const bool fits = type == at::kFloat || query.size(3) % 2 == 0;
  return fits && query.size(2) >= 64 && query.stride(3) == 1 && key.stride(3) == 1 && value.stride(3) == 1;
}

at::Tensor flash_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  return (query.scalar_type() == at::kFloat ? attended<float> : attended<c10::BFloat16>)(query, key, value);
}

}  // namespace syncdr::kernels
