#include "syncdr/kernels/batch_norm.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>
#include <type_traits>
#include <vector>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

constexpr int64_t values_of_chunk = 65536;  // whose sums one thread takes; a constant, so that sums do not depend on the number of threads
constexpr int64_t rows_of_sum = 16;         // added in float32 before they enter sums in float64

// A map is rows (pixels of all samples) of channels. Pointers to its first value.
template <class T> struct Maps {
  const T *x, *residual, *y, *dy;
  T* to;
  const float *factors, *shifts, *mean, *a, *b, *c;  // [C]
  int64_t channels;
  Clamp clamp;

  /// The same from a row on.
  Maps from(int64_t row) const {
    Maps maps = *this;
    for (const T** map : {&maps.x, &maps.residual, &maps.y, &maps.dy}) *map = *map ? *map + row * channels : nullptr;
    maps.to = to ? to + row * channels : nullptr;
    return maps;
  }
};

#ifdef SYNCDR_HAS_VECTORS

/// work(place of a row's channels c to c + W::size, c, sum, other sum) for each row and c; sums [2, channels].
template <class W, class Work> SYNCDR_INLINE void sum_rows(int64_t rows, int64_t channels, double* sums, const Work& work) {
  for (int64_t first = 0; first < rows; first += rows_of_sum) {
    const int64_t last = std::min(first + rows_of_sum, rows);
    for (int64_t c = 0; c < channels; c += W::size) {
      typename W::Vector one{}, other{};
      for (int64_t row = first; row < last; ++row) work(row * channels + c, c, one, other);
      for (int64_t i = 0; i < W::size; ++i) {
        sums[c + i] += double(one[i]);
        sums[channels + c + i] += double(other[i]);
      }
    }
  }
}

/// Of x less a channel's first value, so that squares do not cancel far from zero.
template <class W, class T> SYNCDR_INLINE void add_moments(const Maps<T>& maps, int64_t rows, double* sums) {
  sum_rows<W>(rows, maps.channels, sums, [&](int64_t at, int64_t c, auto& sum, auto& square) SYNCDR_INLINE_LAMBDA {
    const auto value = load<W>(maps.x + at) - load<W>(maps.mean + c);
    sum += value;
    square += value * value;
  });
}

template <class W, class T> SYNCDR_INLINE typename W::Vector before_clamp(const Maps<T>& maps, int64_t at, int64_t c) {
  return load<W>(maps.x + at) * load<W>(maps.factors + c) + load<W>(maps.shifts + c);
}

/// dy where nothing was clamped. A value that is no number passes.
template <class W, class T> SYNCDR_INLINE typename W::Vector through_clamp(const Maps<T>& maps, int64_t at, typename W::Vector value) {
  const typename W::Vector zero{};
  return (value <= maps.clamp.low) | (value >= maps.clamp.high) ? zero : load<W>(maps.dy + at);
}

template <class W, class T> SYNCDR_INLINE void scale_rows(const Maps<T>& maps, int64_t rows) {
  const typename W::Vector zero{}, low = zero + maps.clamp.low, high = zero + maps.clamp.high;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < maps.channels; c += W::size) {
      const int64_t at = row * maps.channels + c;
      auto value = before_clamp<W>(maps, at, c);
      if (maps.residual) value += load<W>(maps.residual + at);
      value = value < low ? low : value;  // in this order what is no number stays none
      store<W>(maps.to + at, value > high ? high : value);
    }
  }
}

/// With y (there was a residual) the clamp is read from it and dz written to `to`; else it is that of x again.
template <class W, class T> SYNCDR_INLINE void add_gradients(const Maps<T>& maps, int64_t rows, double* sums) {
  sum_rows<W>(rows, maps.channels, sums, [&](int64_t at, int64_t c, auto& sum, auto& product) SYNCDR_INLINE_LAMBDA {
    const auto dz = through_clamp<W>(maps, at, maps.y ? load<W>(maps.y + at) : before_clamp<W>(maps, at, c));
    if (maps.to) store<W>(maps.to + at, dz);
    sum += dz;
    product += dz * (load<W>(maps.x + at) - load<W>(maps.mean + c));
  });
}

template <class W, class T> SYNCDR_INLINE void gradient_rows(const Maps<T>& maps, int64_t rows) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < maps.channels; c += W::size) {
      const int64_t at = row * maps.channels + c;
      const auto dz = maps.factors ? through_clamp<W>(maps, at, before_clamp<W>(maps, at, c)) : load<W>(maps.dy + at);
      store<W>(maps.to + at, dz * load<W>(maps.a + c) + load<W>(maps.x + at) * load<W>(maps.b + c) + load<W>(maps.c + c));
    }
  }
}

// Each pass for both widths and both types.
#define SYNCDR_PASS(NAME, PASS)                                                                                                                            \
  template <class T, class... More> SYNCDR_AVX512 void NAME##_wide(const Maps<T>& maps, int64_t rows, More... more) { PASS<Wide>(maps, rows, more...); }   \
  template <class T, class... More> SYNCDR_AVX2 void NAME##_narrow(const Maps<T>& maps, int64_t rows, More... more) { PASS<Narrow>(maps, rows, more...); } \
  const auto NAME = [](const auto& maps, int64_t rows, auto... more) {                                                                                     \
    const bool wide = registers() == Registers::wide && maps.channels % Wide::size == 0;                                                                   \
    wide ? NAME##_wide(maps, rows, more...) : NAME##_narrow(maps, rows, more...);                                                                          \
  };
SYNCDR_PASS(moments_pass, add_moments)
SYNCDR_PASS(scale_pass, scale_rows)
SYNCDR_PASS(sums_pass, add_gradients)
SYNCDR_PASS(gradient_pass, gradient_rows)
#undef SYNCDR_PASS

#else  // batch_norm_takes nothing
const auto moments_pass = [](const auto&, int64_t, double*) {}, sums_pass = moments_pass;
const auto scale_pass = [](const auto&, int64_t) {}, gradient_pass = scale_pass;
#endif

template <class T> const T* begin_of(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr; }

int64_t rows_of(const at::Tensor& x) { return x.numel() / x.size(1); }

/// work(begin, end, index) for each chunk of rows.
void each_chunk(const at::Tensor& x, const std::function<void(int64_t, int64_t, int64_t)>& work) {
  const int64_t rows = rows_of(x), length = std::max<int64_t>(1, values_of_chunk / x.size(1));
  at::parallel_for(0, (rows + length - 1) / length, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i * length, std::min(rows, (i + 1) * length), i);
  });
}

/// [2, C]: the sums over all chunks of work(maps of the chunk, rows, sums).
template <class T, class Pass> at::Tensor sum_chunks(const at::Tensor& x, const Maps<T>& maps, const Pass& pass) {
  const int64_t length = std::max<int64_t>(1, values_of_chunk / x.size(1)), chunks = (rows_of(x) + length - 1) / length;
  const at::Tensor sums = at::zeros({chunks, 2, x.size(1)}, at::kDouble);
  each_chunk(x, [&](int64_t begin, int64_t end, int64_t i) { pass(maps.from(begin), end - begin, sums.mutable_data_ptr<double>() + i * 2 * maps.channels); });
  return sums.sum(0);
}

/// call(a value of x's type)
template <class Call> auto with_type(const at::Tensor& x, const Call& call) { return x.scalar_type() == at::kFloat ? call(float{}) : call(c10::BFloat16{}); }

template <class T> Maps<T> maps_of(const NormalisedBatch& batch, const at::Tensor& dy, const at::Tensor& to) {
  return {.x = begin_of<T>(batch.x),
          .y = batch.residual ? begin_of<T>(batch.y) : nullptr,
          .dy = begin_of<T>(dy),
          .to = to.defined() ? to.mutable_data_ptr<T>() : nullptr,
          .factors = begin_of<float>(batch.factors),
          .shifts = begin_of<float>(batch.shifts),
          .mean = begin_of<float>(batch.mean),
          .channels = batch.x.size(1),
          .clamp = batch.clamp};
}

}  // namespace

bool batch_norm_takes(const at::Tensor& x) {
  return registers() != Registers::none && x.is_cpu() && x.dim() == 4 && x.size(1) % 8 == 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

at::Tensor batch_moments(const at::Tensor& x) {
  return with_type(x, [&](auto type) {
    using T = decltype(type);
    const at::Tensor first = x.select(0, 0).select(1, 0).select(1, 0).to(at::kFloat).contiguous();
    const at::Tensor means = sum_chunks(x, Maps<T>{.x = begin_of<T>(x), .mean = begin_of<float>(first), .channels = x.size(1)}, moments_pass) / rows_of(x);
    const at::Tensor variance = (means[1] - means[0] * means[0]).clamp_min(0);
    return at::stack({means[0] + first, variance});
  });
}

at::Tensor scale_and_clamp(const at::Tensor& x, const at::Tensor& factors, const at::Tensor& shifts, const at::Tensor& residual, Clamp clamp) {
  at::Tensor y = at::empty_like(x);
  with_type(x, [&](auto type) {
    using T = decltype(type);
    const Maps<T> maps{.x = begin_of<T>(x),
                       .residual = begin_of<T>(residual),
                       .to = y.mutable_data_ptr<T>(),
                       .factors = begin_of<float>(factors),
                       .shifts = begin_of<float>(shifts),
                       .channels = x.size(1),
                       .clamp = clamp};
    each_chunk(x, [&](int64_t begin, int64_t end, int64_t) { scale_pass(maps.from(begin), end - begin); });
  });
  return y;
}

GradientSums gradient_sums(const at::Tensor& dy, const NormalisedBatch& batch) {
  GradientSums found{.dz = batch.residual ? at::empty_like(batch.x) : at::Tensor(), .sums = {}};
  with_type(batch.x, [&](auto type) { found.sums = sum_chunks(batch.x, maps_of<decltype(type)>(batch, dy, found.dz), sums_pass); });
  return found;
}

at::Tensor input_gradient(const at::Tensor& gradient, const NormalisedBatch& batch, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
  at::Tensor dx = at::empty_like(batch.x);
  with_type(batch.x, [&](auto type) {
    auto maps = maps_of<decltype(type)>(batch, gradient, dx);
    if (batch.residual) maps.factors = nullptr;  // dz has been through the clamp
    maps.a = begin_of<float>(a);
    maps.b = begin_of<float>(b);
    maps.c = begin_of<float>(c);
    each_chunk(batch.x, [&](int64_t begin, int64_t end, int64_t) { gradient_pass(maps.from(begin), end - begin); });
  });
  return dx;
}

}  // namespace syncdr::kernels
