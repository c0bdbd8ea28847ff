#pragma once
#include <cstdint>

/// Loops for the processor's widest registers, written once for both widths: 16 floats (AVX-512) and 8 (AVX2 with FMA). What is inlined here takes the
/// instructions of the function that SYNCDR_AVX512 or SYNCDR_AVX2 marks. Sources that include this are compiled with -O3.
namespace syncdr::kernels {

enum class Registers { none, narrow, wide };

/// What this processor has. Where it is none, LibTorch's operators do the work.
inline Registers registers() {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool wide =
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  static const bool narrow = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return wide ? Registers::wide : narrow ? Registers::narrow : Registers::none;
#else
  return Registers::none;
#endif
}

constexpr int64_t panel = 32;  ///< columns of a product's right factor that lie together: [columns / panel][depth][panel]

#if defined(__x86_64__) && defined(__GNUC__)
#define SYNCDR_HAS_VECTORS 1
#define SYNCDR_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define SYNCDR_AVX2 __attribute__((target("avx2,fma")))
#define SYNCDR_INLINE inline __attribute__((always_inline))
#define SYNCDR_INLINE_LAMBDA __attribute__((always_inline))

struct Wide {
  static constexpr int64_t size = 16;  ///< floats in a register
  static constexpr int rows = 12;      ///< of a block of a product: 2 x 12 sums in 32 registers
  typedef float Vector __attribute__((vector_size(64)));
  typedef float Loose __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(64)));
};

struct Narrow {
  static constexpr int64_t size = 8;
  static constexpr int rows = 6;  ///< 2 x 6 sums in 16 registers
  typedef float Vector __attribute__((vector_size(32)));
  typedef float Loose __attribute__((vector_size(32), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(32)));
};

template <class W> SYNCDR_INLINE typename W::Vector load(const float* from) { return *reinterpret_cast<const typename W::Loose*>(from); }

template <class W> SYNCDR_INLINE void store(float* to, typename W::Vector values) { *reinterpret_cast<typename W::Loose*>(to) = values; }

/// c [ROWS, COLUMNS registers] = a [ROWS, depth] times as many columns of b [depth, .].
template <class W, int ROWS, int COLUMNS>
SYNCDR_INLINE void multiply_block(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t depth, float* c, int64_t c_stride) {
  typename W::Vector sums[ROWS][COLUMNS] = {};
  for (int64_t k = 0; k < depth; ++k) {
    typename W::Vector right[COLUMNS];
#pragma GCC unroll 2
    for (int column = 0; column < COLUMNS; ++column) right[column] = load<W>(b + k * b_stride + column * W::size);
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; ++row) {
      const float left = a[row * a_stride + k];
#pragma GCC unroll 2
      for (int column = 0; column < COLUMNS; ++column) sums[row][column] += left * right[column];
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
    for (int column = 0; column < COLUMNS; ++column) store<W>(c + row * c_stride + column * W::size, sums[row][column]);
  }
}

/// c [rows, panel] = a [rows, depth] times one panel. The remainder of the rows takes smaller blocks; each element's sum has the same order in all.
template <class W>
SYNCDR_INLINE void multiply_panel(const float* a, int64_t a_stride, const float* b, int64_t depth, float* c, int64_t c_stride, int64_t rows) {
  for (int64_t column = 0; column < panel; column += 2 * W::size) {
    const auto block = [&]<int ROWS>(int64_t row) SYNCDR_INLINE_LAMBDA {
      multiply_block<W, ROWS, 2>(a + row * a_stride, a_stride, b + column, panel, depth, c + row * c_stride + column, c_stride);
    };
    int64_t row = 0;
    for (; row + W::rows <= rows; row += W::rows) block.template operator()<W::rows>(row);
    for (; row + 4 <= rows; row += 4) block.template operator()<4>(row);
    for (; row < rows; ++row) block.template operator()<1>(row);
  }
}

/// e^x to 2e-7 of it, for x of at most 88; what lies below -87 gives e^-87.
template <class W> SYNCDR_INLINE typename W::Vector exponential(typename W::Vector x) {
  typedef typename W::Integers Integers;
  constexpr float magic = 12582912.f;  // 1.5 * 2^23: adding it rounds to the nearest integer, which is then in the lowest bits
  const typename W::Vector zero{};
  x = x > -87.f ? x : zero - 87.f;
  const auto shifted = x * 1.44269504f + magic, power = shifted - magic;
  const auto rest = (x - power * 0.693359375f) - power * -2.12194440e-4f;
  auto value = rest * 1.9875691500e-4f + 1.3981999507e-3f;  // Cephes' expf
  value = value * rest + 8.3334519073e-3f;
  value = value * rest + 4.1665795894e-2f;
  value = value * rest + 1.6666665459e-1f;
  value = value * rest + 5.0000001201e-1f;
  value = value * rest * rest + rest + 1.f;
  return (typename W::Vector)((Integers)value + ((Integers)shifted << 23));
}

/// x / (1 + e^-x)
template <class W> SYNCDR_INLINE typename W::Vector silu(typename W::Vector x) {
  const typename W::Vector zero{};
  const auto opposite = x > -87.f ? -x : zero + 87.f;
  return x / (1.f + exponential<W>(opposite));
}

/// x / 2 (1 + erf(x / sqrt 2)); erf to a few units in the last place by the rational function of Eigen and XLA.
template <class W> SYNCDR_INLINE typename W::Vector gelu(typename W::Vector x) {
  auto t = x * 0.70710678118654752f;
  const typename W::Vector zero{};
  t = t > -4.f ? t : zero - 4.f;
  t = t < 4.f ? t : zero + 4.f;
  const auto square = t * t;
  auto above = square * -2.72614225801306e-10f + 2.77068142495902e-08f;
  above = above * square - 2.10102402082508e-06f;
  above = above * square - 5.69250639462346e-05f;
  above = above * square - 7.34990630326855e-04f;
  above = above * square - 2.95459980854025e-03f;
  above = above * square - 1.60960333262415e-02f;
  auto below = square * -1.45660718464996e-05f - 2.13374055278905e-04f;
  below = below * square - 1.68282697438203e-03f;
  below = below * square - 7.37332916720468e-03f;
  below = below * square - 1.42647390514189e-02f;
  return 0.5f * x * (1.f + t * above / below);
}
#endif

}  // namespace syncdr::kernels
