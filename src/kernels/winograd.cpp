#include "syncdr/kernels/winograd.h"

#include <ATen/Parallel.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <vector>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

constexpr int64_t positions = 16;  // of a tile: 4x4 pixels overlapping by two, for 2x2 outputs

/// One call: tensors in channels-last layout, tiles counted over samples, rows and columns.
template <class T> struct WinogradCall {
  const T* input;     // [B, H, W, in]
  const T* weight;    // [16, out / panel, in / together, panel, together]
  const T* bias;      // [out], bias_stride values on for the next sample
  const T* residual;  // [B, H, W, out] or null
  T* output;          // [B, H, W, out]
  const T* zeros;     // [in]
  int64_t bias_stride, height, width, in, out, tile_rows, tile_columns, block;
};

/// What lies between the transforms, for one block of tiles.
template <class T> struct Between {
  T* inputs;        // [16, block, in]
  float* products;  // [16, block, out]
};

struct Tile {
  int64_t sample, y, x;
};

#ifdef SYNCDR_HAS_VECTORS

template <class T> SYNCDR_INLINE Tile tile_at(const WinogradCall<T>& call, int64_t index) {
  const int64_t column = index % call.tile_columns, line = index / call.tile_columns;
  return {.sample = line / call.tile_rows, .y = 2 * (line % call.tile_rows), .x = 2 * column};
}

/// B^T d B of one tile into values[position][row of the block], `stride` values from position to position.
template <class W, class T> SYNCDR_INLINE void transform_input(const WinogradCall<T>& call, const Tile& tile, T* values, int64_t stride) {
  const T* pixels[4][4];
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t y = tile.y + i - 1, x = tile.x + j - 1;
      const bool inside = y >= 0 && y < call.height && x >= 0 && x < call.width;
      pixels[i][j] = inside ? call.input + ((tile.sample * call.height + y) * call.width + x) * call.in : call.zeros;
    }
  }
  for (int64_t c = 0; c < call.in; c += W::size) {
    typename W::Vector rows[4][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const auto d0 = load<W>(pixels[0][j] + c), d1 = load<W>(pixels[1][j] + c), d2 = load<W>(pixels[2][j] + c), d3 = load<W>(pixels[3][j] + c);
      rows[0][j] = d0 - d2;
      rows[1][j] = d1 + d2;
      rows[2][j] = d2 - d1;
      rows[3][j] = d1 - d3;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      T* to = values + 4 * i * stride + c;
      store<W>(to, rows[i][0] - rows[i][2]);
      store<W>(to + stride, rows[i][1] + rows[i][2]);
      store<W>(to + 2 * stride, rows[i][2] - rows[i][1]);
      store<W>(to + 3 * stride, rows[i][1] - rows[i][3]);
    }
  }
}

/// A^T m A of one tile, plus bias and residual, into the outputs that lie inside the map.
template <class W, class T> SYNCDR_INLINE void transform_output(const WinogradCall<T>& call, const Tile& tile, const float* values, int64_t stride) {
  const T* bias = call.bias + tile.sample * call.bias_stride;
  const int64_t first = ((tile.sample * call.height + tile.y) * call.width + tile.x) * call.out;
  const int64_t height = tile.y + 1 < call.height ? 2 : 1, width = tile.x + 1 < call.width ? 2 : 1;
  for (int64_t c = 0; c < call.out; c += W::size) {
    typename W::Vector rows[2][4], pixels[2][2];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const float* from = values + j * stride + c;
      const auto m0 = load<W>(from), m1 = load<W>(from + 4 * stride), m2 = load<W>(from + 8 * stride), m3 = load<W>(from + 12 * stride);
      rows[0][j] = m0 + m1 + m2;
      rows[1][j] = m1 - m2 - m3;
    }
    const auto shift = load<W>(bias + c);
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      pixels[i][0] = rows[i][0] + rows[i][1] + rows[i][2] + shift;
      pixels[i][1] = rows[i][1] - rows[i][2] - rows[i][3] + shift;
    }
    for (int64_t i = 0; i < height; ++i) {
      for (int64_t j = 0; j < width; ++j) {
        const int64_t at = first + (i * call.width + j) * call.out + c;
        store<W>(call.output + at, call.residual ? pixels[i][j] + load<W>(call.residual + at) : pixels[i][j]);
      }
    }
  }
}

/// Tiles begin to end, at most a block: transformed, multiplied for each position, transformed back.
template <class W, class T> SYNCDR_INLINE void convolve_tiles(const WinogradCall<T>& call, int64_t begin, int64_t end, const Between<T>& between) {
  const int64_t count = end - begin, in_stride = call.block * call.in, out_stride = call.block * call.out;
  for (int64_t i = 0; i < count; ++i) transform_input<W>(call, tile_at(call, begin + i), between.inputs + i * call.in, in_stride);
  for (int64_t position = 0; position < positions; ++position) {
    const T* weight = call.weight + position * call.in * call.out;
    float* products = between.products + position * out_stride;
    for (int64_t c = 0; c < call.out; c += panel) {
      multiply_panel<W>(between.inputs + position * in_stride, call.in, weight + c * call.in, call.in, count,
                        [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA { store<W>(products + row * call.out + c + column, sums); });
    }
  }
  for (int64_t i = 0; i < count; ++i) transform_output<W>(call, tile_at(call, begin + i), between.products + i * call.out, out_stride);
}

using Floats = WinogradCall<float>;
using Bfloats = WinogradCall<c10::BFloat16>;
SYNCDR_AVX512 void convolve_wide(const Floats& call, int64_t begin, int64_t end, const Between<float>& between) {
  convolve_tiles<Wide>(call, begin, end, between);
}
SYNCDR_AVX2 void convolve_narrow(const Floats& call, int64_t begin, int64_t end, const Between<float>& between) {
  convolve_tiles<Narrow>(call, begin, end, between);
}
SYNCDR_AVX512_BF16 void convolve(const Bfloats& call, int64_t begin, int64_t end, const Between<c10::BFloat16>& between) {
  convolve_tiles<Wide>(call, begin, end, between);
}

void convolve(const Floats& call, int64_t begin, int64_t end, const Between<float>& between) {
  (registers() == Registers::wide ? convolve_wide : convolve_narrow)(call, begin, end, between);
}

#else
template <class T> void convolve(const WinogradCall<T>&, int64_t, int64_t, const Between<T>&) {}  // winograd_takes nothing
#endif

/// Tiles that are worked on together: what lies between the transforms is to stay in the second-level cache, a panel of weights is to serve many rows.
template <class T> int64_t tiles_of_block(int64_t in, int64_t out) {
  constexpr int64_t bytes = 400 * 1024, least = 24, most = 192;  // multiples of both widths' rows
  const int64_t of_tile = positions * (in * int64_t(sizeof(T)) + out * int64_t(sizeof(float)));
  return std::clamp(bytes / of_tile / least * least, least, most);
}

template <class T> at::Tensor convolved(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual) {
  const at::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t batch = x.size(0), in = x.size(1), out = weight.size(1) * weight.size(3);
  at::Tensor output = at::empty({batch, out, x.size(2), x.size(3)}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const at::Tensor added = residual.defined() ? residual.contiguous(at::MemoryFormat::ChannelsLast) : residual;
  const at::Tensor shift = bias.contiguous();
  const std::vector<T> zeros(static_cast<size_t>(in), T(0.f));
  const WinogradCall<T> call{.input = x.const_data_ptr<T>(),
                             .weight = weight.const_data_ptr<T>(),
                             .bias = shift.const_data_ptr<T>(),
                             .residual = added.defined() ? added.const_data_ptr<T>() : nullptr,
                             .output = output.mutable_data_ptr<T>(),
                             .zeros = zeros.data(),
                             .bias_stride = shift.dim() == 2 && shift.size(0) > 1 ? out : 0,
                             .height = x.size(2),
                             .width = x.size(3),
                             .in = in,
                             .out = out,
                             .tile_rows = (x.size(2) + 1) / 2,
                             .tile_columns = (x.size(3) + 1) / 2,
                             .block = tiles_of_block<T>(in, out)};
  const int64_t tiles = batch * call.tile_rows * call.tile_columns;
  at::parallel_for(0, (tiles + call.block - 1) / call.block, 1, [&](int64_t begin, int64_t end) {
    const at::Tensor inputs = at::empty({positions, call.block, in}, x.options()), products = at::empty({positions, call.block, out}, at::kFloat);
    const Between<T> between{.inputs = inputs.mutable_data_ptr<T>(), .products = products.mutable_data_ptr<float>()};
    for (int64_t i = begin; i < end; ++i) convolve(call, i * call.block, std::min((i + 1) * call.block, tiles), between);
  });
  return output;
}

}  // namespace

bool winograd_takes(int64_t in_channels, int64_t out_channels, at::ScalarType type) {
  // The weights grow by 16/9: wider layers (Stable Diffusion's 1280 channels) would take gigabytes.
  constexpr int64_t most_pairs = 1 << 20;
  return computes_in(type) && in_channels % 16 == 0 && out_channels % panel == 0 && in_channels * out_channels <= most_pairs;
}

at::Tensor winograd_weight(const at::Tensor& weight) {
  const int64_t out = weight.size(0), in = weight.size(1), pack = weight.scalar_type() == at::kFloat ? together<float> : together<c10::BFloat16>;
  const at::Tensor transform = at::tensor({1., 0., 0., .5, .5, .5, .5, -.5, .5, 0., 0., 1.}, at::kDouble).view({4, 3});
  const at::Tensor packed = at::empty({positions, out / panel, in / pack, panel, pack}, weight.options().requires_grad(false));
  constexpr int64_t most = 4 * panel;  // channels at a time, since they are eight times as large on the way
  for (int64_t first = 0; first < out; first += most) {
    const int64_t count = std::min(most, out - first);
    const at::Tensor part = weight.detach().narrow(0, first, count).to(at::kDouble);
    const at::Tensor both = at::einsum("ia,jb,ocab->ijco", {transform, transform, part});
    packed.narrow(1, first / panel, count / panel).copy_(both.reshape({positions, in / pack, pack, count / panel, panel}).permute({0, 3, 1, 4, 2}));
  }
  return packed;
}

at::Tensor winograd_convolution(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual) {
  return (input.scalar_type() == at::kFloat ? convolved<float> : convolved<c10::BFloat16>)(input, weight, bias, residual);
}

}  // namespace syncdr::kernels
