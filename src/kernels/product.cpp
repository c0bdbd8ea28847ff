#include "syncdr/kernels/product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

constexpr int64_t rows_of_block = 96;  // share a panel of weights while it is in the first-level cache; a multiple of both widths' rows

template <class T> struct ProductCall {
  const T* x;         // [rows, in]
  const T* weight;    // [out / panel, in / together, panel, together]
  const T* bias;      // [out] or null
  const T* residual;  // [rows, out] or null
  T* y;               // [rows, out], of geglu [rows, out / 2]
  int64_t rows, in, out;
};

#ifdef SYNCDR_HAS_VECTORS

template <class W, class T> SYNCDR_INLINE typename W::Vector load_or_zero(const T* from, int64_t at) {
  return from ? load<W>(from + at) : typename W::Vector{};
}

template <class W, class T> SYNCDR_INLINE void multiply(const ProductCall<T>& call, int64_t begin, int64_t end) {
  for (int64_t c = 0; c < call.out; c += panel) {
    multiply_panel<W>(call.x + begin * call.in, call.in, call.weight + c * call.in, call.in, end - begin,
                      [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA {
                        const int64_t j = c + column, at = (begin + row) * call.out + j;
                        store<W>(call.y + at, sums + load_or_zero<W>(call.bias, j) + load_or_zero<W>(call.residual, at));
                      });
  }
}

template <class W, class T> SYNCDR_INLINE void multiply_geglu(const ProductCall<T>& call, int64_t begin, int64_t end) {
  const int64_t half = call.out / 2, rows = end - begin;
  float values[rows_of_block * panel], gates[rows_of_block * panel];
  const auto multiply_into = [&](float* to, int64_t c) SYNCDR_INLINE_LAMBDA {
    multiply_panel<W>(call.x + begin * call.in, call.in, call.weight + c * call.in, call.in, rows,
                      [&](int64_t row, int64_t column, auto sums)
                          SYNCDR_INLINE_LAMBDA { store<W>(to + row * panel + column, sums + load_or_zero<W>(call.bias, c + column)); });
  };
  for (int64_t c = 0; c < half; c += panel) {
    multiply_into(values, c);
    multiply_into(gates, half + c);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t j = 0; j < panel; j += W::size) {
        const int64_t at = row * panel + j;
        store<W>(call.y + (begin + row) * half + c + j, load<W>(values + at) * gelu<W, T>(load<W>(gates + at)));
      }
    }
  }
}

using Floats = ProductCall<float>;
using Bfloats = ProductCall<c10::BFloat16>;
SYNCDR_AVX512 void multiply_wide(const Floats& call, int64_t begin, int64_t end) { multiply<Wide>(call, begin, end); }
SYNCDR_AVX2 void multiply_narrow(const Floats& call, int64_t begin, int64_t end) { multiply<Narrow>(call, begin, end); }
SYNCDR_AVX512_BF16 void multiply_bfloat(const Bfloats& call, int64_t begin, int64_t end) { multiply<Wide>(call, begin, end); }
SYNCDR_AVX512 void geglu_wide(const Floats& call, int64_t begin, int64_t end) { multiply_geglu<Wide>(call, begin, end); }
SYNCDR_AVX2 void geglu_narrow(const Floats& call, int64_t begin, int64_t end) { multiply_geglu<Narrow>(call, begin, end); }
SYNCDR_AVX512_BF16 void geglu_bfloat(const Bfloats& call, int64_t begin, int64_t end) { multiply_geglu<Wide>(call, begin, end); }

void multiply_rows(const Floats& call, bool geglu, int64_t begin, int64_t end) {
  const bool wide = registers() == Registers::wide;
  (geglu ? wide ? geglu_wide : geglu_narrow : wide ? multiply_wide : multiply_narrow)(call, begin, end);
}

void multiply_rows(const Bfloats& call, bool geglu, int64_t begin, int64_t end) { (geglu ? geglu_bfloat : multiply_bfloat)(call, begin, end); }

#else
template <class T> void multiply_rows(const ProductCall<T>&, bool, int64_t, int64_t) {}  // product_takes nothing
#endif

template <class T> at::Tensor multiplied(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual, bool geglu) {
  const int64_t in = weight.size(1) * weight.size(3), out = weight.size(0) * panel;
  const at::Tensor rows = x.contiguous(), added = residual.defined() ? residual.contiguous() : residual;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = geglu ? out / 2 : out;
  at::Tensor y = at::empty(shape, x.options());
  const ProductCall<T> call{.x = rows.const_data_ptr<T>(),
                            .weight = weight.const_data_ptr<T>(),
                            .bias = bias.defined() ? bias.const_data_ptr<T>() : nullptr,
                            .residual = added.defined() ? added.const_data_ptr<T>() : nullptr,
                            .y = y.mutable_data_ptr<T>(),
                            .rows = rows.numel() / in,
                            .in = in,
                            .out = out};
  at::parallel_for(0, (call.rows + rows_of_block - 1) / rows_of_block, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) multiply_rows(call, geglu, i * rows_of_block, std::min((i + 1) * rows_of_block, call.rows));
  });
  return y;
}

at::Tensor multiplied_in_its_type(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual, bool geglu) {
  return (x.scalar_type() == at::kFloat ? multiplied<float> : multiplied<c10::BFloat16>)(x, weight, bias, residual, geglu);
}

}  // namespace

bool product_takes(int64_t in, int64_t out, at::ScalarType type) {
  constexpr int64_t most_pairs = 1 << 20;  // the more there are, the less LibTorch's packing them anew at each call costs
  return computes_in(type) && in % (type == at::kFloat ? 1 : 2) == 0 && out % panel == 0 && in * out <= most_pairs;
}

bool geglu_takes(int64_t out) { return out % (2 * panel) == 0; }

at::Tensor product_weight(const at::Tensor& weight) {
  const int64_t pack = weight.scalar_type() == at::kFloat ? together<float> : together<c10::BFloat16>;
  return weight.detach().reshape({weight.size(0) / panel, panel, weight.size(1) / pack, pack}).transpose(1, 2).contiguous();
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual) {
  return multiplied_in_its_type(x, weight, bias, residual, false);
}

at::Tensor geglu_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) { return multiplied_in_its_type(x, weight, bias, {}, true); }

}  // namespace syncdr::kernels
