#include "syncdr/kernels/fast_norm.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

constexpr int64_t pixels_of_chunk = 1024;  // whose sums one thread takes; a constant, so that sums do not depend on the number of threads
constexpr int64_t pixels_of_sum = 16;      // added in float32 before they enter sums in float64

template <class T> struct NormCall {
  const T* x;  // [B, pixels, channels]
  T* y;
  int64_t pixels, channels;
  bool silu;
};

#ifdef SYNCDR_HAS_VECTORS

/// Adds pixels begin to end of `from` [., channels] to sums [channels] and squares [channels].
template <class W, class T> SYNCDR_INLINE void add_moments(const T* from, int64_t pixels, int64_t channels, double* sums, double* squares) {
  for (int64_t first = 0; first < pixels; first += pixels_of_sum) {
    const int64_t last = std::min(first + pixels_of_sum, pixels);
    for (int64_t c = 0; c < channels; c += W::size) {
      typename W::Vector sum{}, square{};
      for (int64_t pixel = first; pixel < last; ++pixel) {
        const auto values = load<W>(from + pixel * channels + c);
        sum += values;
        square += values * values;
      }
      for (int64_t i = 0; i < W::size; ++i) {
        sums[c + i] += double(sum[i]);
        squares[c + i] += double(square[i]);
      }
    }
  }
}

/// factors and shifts: [channels]
template <class W, class T> SYNCDR_INLINE void apply(const NormCall<T>& call, int64_t first, int64_t pixels, const float* factors, const float* shifts) {
  for (int64_t pixel = first; pixel < first + pixels; ++pixel) {
    const T* from = call.x + pixel * call.channels;
    T* to = call.y + pixel * call.channels;
    for (int64_t c = 0; c < call.channels; c += W::size) {
      const auto values = load<W>(from + c) * load<W>(factors + c) + load<W>(shifts + c);
      store<W>(to + c, call.silu ? silu<W, T>(values) : values);
    }
  }
}

using Floats = NormCall<float>;
using Bfloats = NormCall<c10::BFloat16>;
SYNCDR_AVX512 void moments_wide(const float* from, int64_t pixels, int64_t channels, double* sums, double* squares) {
  add_moments<Wide>(from, pixels, channels, sums, squares);
}
SYNCDR_AVX2 void moments_narrow(const float* from, int64_t pixels, int64_t channels, double* sums, double* squares) {
  add_moments<Narrow>(from, pixels, channels, sums, squares);
}
SYNCDR_AVX512_BF16 void moments(const c10::BFloat16* from, int64_t pixels, int64_t channels, double* sums, double* squares) {
  add_moments<Wide>(from, pixels, channels, sums, squares);
}
SYNCDR_AVX512 void apply_wide(const Floats& call, int64_t first, int64_t pixels, const float* factors, const float* shifts) {
  apply<Wide>(call, first, pixels, factors, shifts);
}
SYNCDR_AVX2 void apply_narrow(const Floats& call, int64_t first, int64_t pixels, const float* factors, const float* shifts) {
  apply<Narrow>(call, first, pixels, factors, shifts);
}
SYNCDR_AVX512_BF16 void apply_norm(const Bfloats& call, int64_t first, int64_t pixels, const float* factors, const float* shifts) {
  apply<Wide>(call, first, pixels, factors, shifts);
}
void moments(const float* from, int64_t pixels, int64_t channels, double* sums, double* squares) {
  (registers() == Registers::wide ? moments_wide : moments_narrow)(from, pixels, channels, sums, squares);
}
void apply_norm(const Floats& call, int64_t first, int64_t pixels, const float* factors, const float* shifts) {
  (registers() == Registers::wide ? apply_wide : apply_narrow)(call, first, pixels, factors, shifts);
}

#else
template <class T> void moments(const T*, int64_t, int64_t, double*, double*) {}  // fast_norm_takes nothing
template <class T> void apply_norm(const NormCall<T>&, int64_t, int64_t, const float*, const float*) {}
#endif

/// One sample's chunks [chunks][2][channels] of sums and squares -> what its channels are multiplied by and shifted by.
template <class T>
void factors_of(const double* chunks, int64_t count, const NormCall<T>& call, int64_t groups, const T* weight, const T* bias, double epsilon, float* factors,
                float* shifts) {
  const int64_t channels = call.channels, width = channels / groups;
  const auto elements = double(width * call.pixels);
  for (int64_t group = 0; group < groups; ++group) {
    double sum = 0, square = 0;
    for (int64_t chunk = 0; chunk < count; ++chunk) {
      for (int64_t c = group * width; c < (group + 1) * width; ++c) {
        sum += chunks[2 * chunk * channels + c];
        square += chunks[(2 * chunk + 1) * channels + c];
      }
    }
    const double mean = sum / elements, deviation = 1 / std::sqrt(std::max(square / elements - mean * mean, 0.0) + epsilon);
    for (int64_t c = group * width; c < (group + 1) * width; ++c) {
      factors[c] = float(deviation * double(float(weight[c])));
      shifts[c] = float(double(float(bias[c])) - mean * deviation * double(float(weight[c])));
    }
  }
}

template <class T>
at::Tensor normalized(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double epsilon, bool with_silu) {
  const at::Tensor input = x.contiguous(at::MemoryFormat::ChannelsLast);
  at::Tensor output = at::empty_like(input);
  const int64_t batch = x.size(0), channels = x.size(1), pixels = x.size(2) * x.size(3), chunks = (pixels + pixels_of_chunk - 1) / pixels_of_chunk;
  const NormCall<T> call{.x = input.const_data_ptr<T>(), .y = output.mutable_data_ptr<T>(), .pixels = pixels, .channels = channels, .silu = with_silu};
  std::vector<double> sums(static_cast<size_t>(batch * chunks * 2 * channels));
  std::vector<float> factors(static_cast<size_t>(batch * channels)), shifts(factors.size());
  const auto each_chunk = [&](const auto& work) {  // work(index, sample, its first pixel, pixels)
    at::parallel_for(0, batch * chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % chunks * pixels_of_chunk;
        work(i, i / chunks, i / chunks * pixels + first, std::min(pixels_of_chunk, pixels - first));
      }
    });
  };
  each_chunk([&](int64_t i, int64_t, int64_t first, int64_t count) {
    double* to = sums.data() + 2 * i * channels;
    moments(call.x + first * channels, count, channels, to, to + channels);
  });
  for (int64_t i = 0; i < batch; ++i)
    factors_of(sums.data() + 2 * i * chunks * channels, chunks, call, groups, weight.const_data_ptr<T>(), bias.const_data_ptr<T>(), epsilon,
               factors.data() + i * channels, shifts.data() + i * channels);
  each_chunk([&](int64_t, int64_t sample, int64_t first, int64_t count) {
    apply_norm(call, first, count, factors.data() + sample * channels, shifts.data() + sample * channels);
  });
  return output;
}

}  // namespace

bool fast_norm_takes(int64_t channels, at::ScalarType type) { return computes_in(type) && channels % 16 == 0; }

at::Tensor fast_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double epsilon, bool with_silu) {
  return (x.scalar_type() == at::kFloat ? normalized<float> : normalized<c10::BFloat16>)(x, groups, weight, bias, epsilon, with_silu);
}

}  // namespace syncdr::kernels
