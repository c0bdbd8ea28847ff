#include "syncdr/kernels/product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

constexpr int64_t rows_of_block = 96;  // share a panel of weights while it is in the first-level cache; a multiple of both widths' rows

struct ProductCall {
  const float* x;         // [rows, in]
  const float* weight;    // [out / panel, in, panel]
  const float* bias;      // [out] or null
  const float* residual;  // [rows, out] or null
  float* y;               // [rows, out], of geglu [rows, out / 2]
  int64_t rows, in, out;
};

#ifdef SYNCDR_HAS_VECTORS

template <class W> SYNCDR_INLINE typename W::Vector load_or_zero(const float* from, int64_t at) { return from ? load<W>(from + at) : typename W::Vector{}; }

template <class W> SYNCDR_INLINE void multiply(const ProductCall& call, int64_t begin, int64_t end) {
  for (int64_t c = 0; c < call.out; c += panel) {
    multiply_panel<W>(call.x + begin * call.in, call.in, call.weight + c * call.in, call.in, call.y + begin * call.out + c, call.out, end - begin);
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t j = c; j < c + panel; j += W::size) {
        const int64_t at = row * call.out + j;
        store<W>(call.y + at, load<W>(call.y + at) + load_or_zero<W>(call.bias, j) + load_or_zero<W>(call.residual, at));
      }
    }
  }
}

template <class W> SYNCDR_INLINE void multiply_geglu(const ProductCall& call, int64_t begin, int64_t end) {
  const int64_t half = call.out / 2, rows = end - begin;
  float values[rows_of_block * panel], gates[rows_of_block * panel];
  for (int64_t c = 0; c < half; c += panel) {
    multiply_panel<W>(call.x + begin * call.in, call.in, call.weight + c * call.in, call.in, values, panel, rows);
    multiply_panel<W>(call.x + begin * call.in, call.in, call.weight + (half + c) * call.in, call.in, gates, panel, rows);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t j = 0; j < panel; j += W::size) {
        const auto value = load<W>(values + row * panel + j) + load_or_zero<W>(call.bias, c + j);
        const auto gate = load<W>(gates + row * panel + j) + load_or_zero<W>(call.bias, half + c + j);
        store<W>(call.y + (begin + row) * half + c + j, value * gelu<W>(gate));
      }
    }
  }
}

SYNCDR_AVX512 void multiply_wide(const ProductCall& call, int64_t begin, int64_t end) { multiply<Wide>(call, begin, end); }
SYNCDR_AVX2 void multiply_narrow(const ProductCall& call, int64_t begin, int64_t end) { multiply<Narrow>(call, begin, end); }
SYNCDR_AVX512 void geglu_wide(const ProductCall& call, int64_t begin, int64_t end) { multiply_geglu<Wide>(call, begin, end); }
SYNCDR_AVX2 void geglu_narrow(const ProductCall& call, int64_t begin, int64_t end) { multiply_geglu<Narrow>(call, begin, end); }

void multiply_rows(const ProductCall& call, bool geglu, int64_t begin, int64_t end) {
  const bool wide = registers() == Registers::wide;
  (geglu ? wide ? geglu_wide : geglu_narrow : wide ? multiply_wide : multiply_narrow)(call, begin, end);
}

#else
void multiply_rows(const ProductCall&, bool, int64_t, int64_t) {}  // product_takes nothing
#endif

at::Tensor multiplied(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual, bool geglu) {
  const int64_t out = weight.size(0) * panel;
  const at::Tensor rows = x.contiguous(), added = residual.defined() ? residual.contiguous() : residual;
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = geglu ? out / 2 : out;
  at::Tensor y = at::empty(shape, x.options());
  const ProductCall call{.x = rows.const_data_ptr<float>(),
                         .weight = weight.const_data_ptr<float>(),
                         .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                         .residual = added.defined() ? added.const_data_ptr<float>() : nullptr,
                         .y = y.mutable_data_ptr<float>(),
                         .rows = rows.numel() / weight.size(1),
                         .in = weight.size(1),
                         .out = out};
  at::parallel_for(0, (call.rows + rows_of_block - 1) / rows_of_block, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) multiply_rows(call, geglu, i * rows_of_block, std::min((i + 1) * rows_of_block, call.rows));
  });
  return y;
}

}  // namespace

bool product_takes(int64_t in, int64_t out) {
  constexpr int64_t most_pairs = 1 << 20;  // the weights are kept a second time; and the more there are, the less packing them anew at each call costs
  return registers() != Registers::none && out % panel == 0 && in * out <= most_pairs;
}

bool geglu_takes(int64_t out) { return out % (2 * panel) == 0; }

at::Tensor product_weight(const at::Tensor& weight) {
  return weight.detach().reshape({weight.size(0) / panel, panel, weight.size(1)}).transpose(1, 2).contiguous();
}

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual) {
  return multiplied(x, weight, bias, residual, false);
}

at::Tensor geglu_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) { return multiplied(x, weight, bias, {}, true); }

}  // namespace syncdr::kernels
