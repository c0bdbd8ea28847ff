#pragma once
#include <c10/core/ScalarType.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#include <cstdint>

/// Loops for the processor's widest registers, written once for both widths: 16 floats (AVX-512) and 8 (AVX2 with FMA), and once for tensors in float32 and
/// in bfloat16. In registers values are float32 always: bfloat16 is widened as it is loaded, rounded to nearest as it is stored, and multiplied in pairs
/// whose sum is float32 (VDPBF16PS). What is inlined here takes the instructions of the function that SYNCDR_AVX512, SYNCDR_AVX512_BF16 or SYNCDR_AVX2
/// marks. Sources that include this are compiled with -O3.
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

/// Whether there are loops for tensors in this type: float32 with any registers, bfloat16 with those of AVX512_BF16.
inline bool computes_in(c10::ScalarType type) {
  if (type == c10::ScalarType::Float) return registers() != Registers::none;
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool pairs = __builtin_cpu_supports("avx512bf16");
  return type == c10::ScalarType::BFloat16 && pairs && registers() == Registers::wide;
#else
  return false;
#endif
}

/// Values of a row that are multiplied together: 1 float or 2 bfloat16. Along the depth of a product their number must be a multiple of it.
template <class T> constexpr int64_t together = int64_t(sizeof(float) / sizeof(T));

/// Columns of a product's right factor that lie together: [columns / panel][depth / together][panel][together].
constexpr int64_t panel = 32;

#define SYNCDR_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GNUC__)
#define SYNCDR_HAS_VECTORS 1
#define SYNCDR_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma")))
#define SYNCDR_AVX512_BF16 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,fma,avx512bf16")))
#define SYNCDR_AVX2 __attribute__((target("avx2,fma")))
#define SYNCDR_INLINE_LAMBDA __attribute__((always_inline))

struct Wide {
  static constexpr int64_t size = 16;  ///< floats in a register
  static constexpr int rows = 12;      ///< of a block of a product: 2 x 12 sums in 32 registers
  typedef float Vector __attribute__((vector_size(64)));
  typedef float Loose __attribute__((vector_size(64), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(64)));
  typedef int32_t LooseIntegers __attribute__((vector_size(64), aligned(2), may_alias));
  typedef int16_t Pairs __attribute__((vector_size(64)));
  typedef int16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));

  /// x - floor(x)
  static SYNCDR_INLINE Vector fraction(Vector x) { return __builtin_ia32_reduceps512_mask(x, /*to integers, down=*/1, x, -1); }
  /// x 2^floor(power)
  static SYNCDR_INLINE Vector scale(Vector x, Vector power) { return __builtin_ia32_scalefps512_mask(x, power, x, -1, /*as the processor rounds=*/4); }
  /// A bit for each x that is above y.
  static SYNCDR_INLINE uint32_t above(Vector x, Vector y) { return __builtin_ia32_cmpps512_mask(x, y, /*greater, ordered, quiet=*/30, -1, 4); }
};

struct Narrow {
  static constexpr int64_t size = 8;
  static constexpr int rows = 6;  ///< 2 x 6 sums in 16 registers
  typedef float Vector __attribute__((vector_size(32)));
  typedef float Loose __attribute__((vector_size(32), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(32)));

  static SYNCDR_INLINE Vector fraction(Vector x) { return x - __builtin_ia32_roundps256(x, /*down=*/1); }
  static SYNCDR_INLINE Vector scale(Vector x, Vector power) {
    const Vector least = Vector{} - 126.f, most = Vector{} + 127.f;
    power = power > least ? power : least;
    power = power < most ? power : most;
    return x * (Vector)((__builtin_convertvector(__builtin_ia32_roundps256(power, /*down=*/1), Integers) + 127) << 23);
  }
  static SYNCDR_INLINE uint32_t above(Vector x, Vector y) {
    return static_cast<uint32_t>(__builtin_ia32_movmskps256(__builtin_ia32_cmpps256(x, y, /*greater, ordered, quiet=*/30)));
  }
};

template <class W> SYNCDR_INLINE typename W::Vector load(const float* from) { return *reinterpret_cast<const typename W::Loose*>(from); }

template <class W> SYNCDR_INLINE typename W::Vector load(const c10::BFloat16* from) {
  // A cast of vectors would become two instructions of half the width.
  const auto bits = __builtin_ia32_pmovzxwd512_mask(*reinterpret_cast<const typename W::Halves*>(from), typename W::Integers{}, -1);
  return (typename W::Vector)(bits << 16);
}

template <class W> SYNCDR_INLINE void store(float* to, typename W::Vector values) { *reinterpret_cast<typename W::Loose*>(to) = values; }

template <class W> SYNCDR_INLINE void store(c10::BFloat16* to, typename W::Vector values) {
  *reinterpret_cast<typename W::Halves*>(to) = (typename W::Halves)__builtin_ia32_cvtneps2bf16_v16sf(values);
}

/// What a product multiplies at once: of its left factor `together` values of a row, the same for all columns; of its right factor as many of each column.
SYNCDR_INLINE float left_factor(const float* from) { return *from; }

SYNCDR_INLINE int32_t left_factor(const c10::BFloat16* from) {
  int32_t bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return bits;
}

template <class W> SYNCDR_INLINE typename W::Vector right_factor(const float* from) { return load<W>(from); }

template <class W> SYNCDR_INLINE typename W::Integers right_factor(const c10::BFloat16* from) {
  return *reinterpret_cast<const typename W::LooseIntegers*>(from);
}

template <class W> SYNCDR_INLINE void multiply_add(typename W::Vector& sum, float left, typename W::Vector right) { sum += left * right; }

template <class W> SYNCDR_INLINE void multiply_add(typename W::Vector& sum, int32_t left, typename W::Integers right) {
  const auto pairs = left - typename W::Integers{};
  sum = __builtin_ia32_dpbf16ps_v16sf(sum, (typename W::Pairs)pairs, (typename W::Pairs)right);
}

/// a [ROWS, depth] times COLUMNS registers' columns of b [depth / together, ., together]: finish(row, column, sums) for each register.
template <class W, int ROWS, int COLUMNS, class T, class Finish>
SYNCDR_INLINE void multiply_block(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int64_t depth, const Finish& finish) {
  typename W::Vector sums[ROWS][COLUMNS] = {};
  for (int64_t k = 0; k < depth; k += together<T>) {
    decltype(right_factor<W>(b)) right[COLUMNS];
#pragma GCC unroll 2
    for (int column = 0; column < COLUMNS; ++column) right[column] = right_factor<W>(b + k * b_stride + column * W::size * together<T>);
#pragma GCC unroll 12
    for (int row = 0; row < ROWS; ++row) {
      const auto left = left_factor(a + row * a_stride + k);
#pragma GCC unroll 2
      for (int column = 0; column < COLUMNS; ++column) multiply_add<W>(sums[row][column], left, right[column]);
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < ROWS; ++row) {
#pragma GCC unroll 2
    for (int column = 0; column < COLUMNS; ++column) finish(row, column * W::size, sums[row][column]);
  }
}

/// a [rows, depth] times one panel: finish(row, column, sums) for each register. The remainder of the rows takes smaller blocks; each element's sum has
/// the same order in all.
template <class W, class T, class Finish>
SYNCDR_INLINE void multiply_panel(const T* a, int64_t a_stride, const T* b, int64_t depth, int64_t rows, const Finish& finish) {
  for (int64_t first = 0; first < panel; first += 2 * W::size) {
    const auto block = [&]<int ROWS>(int64_t from) SYNCDR_INLINE_LAMBDA {
      multiply_block<W, ROWS, 2>(a + from * a_stride, a_stride, b + first * together<T>, panel, depth,
                                 [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA { finish(from + row, first + column, sums); });
    };
    int64_t row = 0;
    for (; row + W::rows <= rows; row += W::rows) block.template operator()<W::rows>(row);
    for (; row + 4 <= rows; row += 4) block.template operator()<4>(row);
    for (; row < rows; ++row) block.template operator()<1>(row);
  }
}

/// 1 / x, for tensors of bfloat16 to 6e-5 of it.
template <class W, class T> SYNCDR_INLINE typename W::Vector reciprocal(typename W::Vector x) {
  if constexpr (together<T> == 1) return 1.f / x;
  else return __builtin_ia32_rcp14ps512_mask(x, typename W::Vector{}, -1);
}

/// 2^x to 2e-7 of it for tensors of float, 1e-4 for those of bfloat16: 2^floor(x) times a minimax polynomial of the rest.
template <class W, class T> SYNCDR_INLINE typename W::Vector power_of_two(typename W::Vector x) {
  const typename W::Vector rest = W::fraction(x);
  typename W::Vector value;
  if constexpr (together<T> == 1) {
    value = rest * 1.877576282e-3f + 8.989341115e-3f;
    value = value * rest + 5.582631714e-2f;
    value = value * rest + 2.401536174e-1f;
    value = value * rest + 6.931530731e-1f;
    value = value * rest + 9.999999251e-1f;
  } else {
    value = rest * 7.802451314e-2f + 2.2606717e-1f;
    value = value * rest + 6.958336e-1f;
    value = value * rest + 9.999252205e-1f;
  }
  return W::scale(value, x);
}

constexpr float log2_e = 1.44269504f;

/// x / (1 + e^-x)
template <class W, class T> SYNCDR_INLINE typename W::Vector silu(typename W::Vector x) { return x * reciprocal<W, T>(1.f + power_of_two<W, T>(x * -log2_e)); }

/// x / 2 (1 + erf(x / sqrt 2)); erf to a few units in the last place by the rational function of Eigen and XLA.
template <class W, class T> SYNCDR_INLINE typename W::Vector gelu(typename W::Vector x) {
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
  return 0.5f * x * (1.f + t * above * reciprocal<W, T>(below));
}
#endif

}  // namespace syncdr::kernels
