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

/// One call: tensors in channels-last layout, tiles counted over samples, rows and columns.
template <class T> struct WinogradCall {
  const T* input;     // [B, H, W, in], of doubled maps [B, H / 2, W / 2, in]
  const T* weight;    // [positions, out / panel, in / together, panel, together]
  const T* bias;      // [out], bias_stride values on for the next sample
  const T* residual;  // [B, H, W, out] or null
  T* output;          // [B, H, W, out]
  const T* zeros;     // [in]
  int64_t bias_stride, height, width, in, out, tile_rows, tile_columns, block;
};

/// What lies between the transforms, for one block of tiles.
template <class T> struct Between {
  T* inputs;        // [positions, block, in]
  float* products;  // [positions, block, out]
};

struct Tile {
  int64_t sample, y, x;
};

/// F(2x2, 3x3) with the points 0, 1, -1 and infinity: tiles of 4x4 pixels, overlapping by two, for 2x2 outputs. The transforms are of one line.
struct SmallTiles {
  static constexpr int outputs = 2, side = 4;
  static constexpr double weight[side][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
  static constexpr bool doubles = false;
  static constexpr bool is_zero(int) { return false; }

  template <class V> static SYNCDR_INLINE void transform_input(const V* d, V* to) {
    to[0] = d[0] - d[2];
    to[1] = d[1] + d[2];
    to[2] = d[2] - d[1];
    to[3] = d[1] - d[3];
  }
  template <class V> static SYNCDR_INLINE void transform_output(const V* m, V* to) {
    to[0] = m[0] + m[1] + m[2];
    to[1] = m[1] - m[2] - m[3];
  }
};

/// The same of a map whose rows and columns come twice each, as nearest upsampling makes it: d[1] and d[2] are equal, which leaves 9 of 16 products.
struct DoubledTiles : SmallTiles {
  static constexpr bool doubles = true;
  static constexpr bool is_zero(int position) { return position == 2; }
};

/// F(4x4, 3x3) with the points 0, +-sqrt(1/2), +-sqrt(2) and infinity, which lose half as much to rounding as 0, +-1, +-2.
struct LargeTiles {
  static constexpr int outputs = 4, side = 6;
  static constexpr double root = 1.4142135623730951;
  static constexpr double weight[side][3] = {
      {1, 0, 0}, {-2. / 3, -root / 3, -1. / 3}, {-2. / 3, root / 3, -1. / 3}, {1. / 6, root / 6, 1. / 3}, {1. / 6, -root / 6, 1. / 3}, {0, 0, 1}};
  static constexpr bool doubles = false;
  static constexpr bool is_zero(int) { return false; }

  template <class V> static SYNCDR_INLINE void transform_input(const V* d, V* to) {
    const V even1 = d[4] - 2.f * d[2], odd1 = (d[3] - 2.f * d[1]) * float(root / 2), even2 = d[4] - .5f * d[2], odd2 = (d[3] - .5f * d[1]) * float(root);
    to[0] = d[0] - 2.5f * d[2] + d[4];
    to[1] = even1 + odd1;
    to[2] = even1 - odd1;
    to[3] = even2 + odd2;
    to[4] = even2 - odd2;
    to[5] = d[1] - 2.5f * d[3] + d[5];
  }
  template <class V> static SYNCDR_INLINE void transform_output(const V* m, V* to) {
    const V sum1 = m[1] + m[2], difference1 = (m[1] - m[2]) * float(root / 2), sum2 = m[3] + m[4], difference2 = (m[3] - m[4]) * float(root);
    to[0] = m[0] + sum1 + sum2;
    to[1] = difference1 + difference2;
    to[2] = .5f * sum1 + 2.f * sum2;
    to[3] = .5f * difference1 + 2.f * difference2 + m[5];
  }
};

template <class Tiles> constexpr int64_t positions = int64_t(Tiles::side) * Tiles::side;

#ifdef SYNCDR_HAS_VECTORS

template <class Tiles, class T> SYNCDR_INLINE Tile tile_at(const WinogradCall<T>& call, int64_t index) {
  const int64_t column = index % call.tile_columns, line = index / call.tile_columns;
  return {.sample = line / call.tile_rows, .y = Tiles::outputs * (line % call.tile_rows), .x = Tiles::outputs * column};
}

/// B^T d B of one tile into values[position][row of the block], `stride` values from position to position.
template <class W, class Tiles, class T> SYNCDR_INLINE void transform_input(const WinogradCall<T>& call, const Tile& tile, T* values, int64_t stride) {
  constexpr int side = Tiles::side, times = Tiles::doubles ? 2 : 1;
  const T* pixels[side][side];
  for (int64_t i = 0; i < side; ++i) {
    for (int64_t j = 0; j < side; ++j) {
      const int64_t y = tile.y + i - 1, x = tile.x + j - 1;
      const bool inside = y >= 0 && y < call.height && x >= 0 && x < call.width;
      pixels[i][j] = inside ? call.input + ((tile.sample * (call.height / times) + y / times) * (call.width / times) + x / times) * call.in : call.zeros;
    }
  }
  for (int64_t c = 0; c < call.in; c += W::size) {
    typename W::Vector rows[side][side];
#pragma GCC unroll 6
    for (int j = 0; j < side; ++j) {
      typename W::Vector column[side], line[side];
#pragma GCC unroll 6
      for (int i = 0; i < side; ++i) column[i] = load<W>(pixels[i][j] + c);
      Tiles::transform_input(column, line);
#pragma GCC unroll 6
      for (int i = 0; i < side; ++i) rows[i][j] = line[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < side; ++i) {
      if (Tiles::is_zero(i)) continue;
      typename W::Vector line[side];
      Tiles::transform_input(rows[i], line);
#pragma GCC unroll 6
      for (int j = 0; j < side; ++j) {
        if (!Tiles::is_zero(j)) store<W>(values + (i * side + j) * stride + c, line[j]);
      }
    }
  }
}

/// A^T m A of one tile, plus bias and residual, into the outputs that lie inside the map.
template <class W, class Tiles, class T>
SYNCDR_INLINE void transform_output(const WinogradCall<T>& call, const Tile& tile, const float* values, int64_t stride) {
  constexpr int side = Tiles::side, outputs = Tiles::outputs;
  const T* bias = call.bias + tile.sample * call.bias_stride;
  const int64_t first = ((tile.sample * call.height + tile.y) * call.width + tile.x) * call.out, height = call.height - tile.y, width = call.width - tile.x;
  for (int64_t c = 0; c < call.out; c += W::size) {
    typename W::Vector rows[outputs][side];
#pragma GCC unroll 6
    for (int j = 0; j < side; ++j) {
      typename W::Vector column[side], line[outputs];
#pragma GCC unroll 6
      for (int i = 0; i < side; ++i) {
        if (Tiles::is_zero(i) || Tiles::is_zero(j)) column[i] = typename W::Vector{};
        else column[i] = load<W>(values + (i * side + j) * stride + c);
      }
      Tiles::transform_output(column, line);
#pragma GCC unroll 4
      for (int i = 0; i < outputs; ++i) rows[i][j] = line[i];
    }
    const auto shift = load<W>(bias + c);
#pragma GCC unroll 4
    for (int i = 0; i < outputs; ++i) {
      if (i >= height) break;
      typename W::Vector pixels[outputs];
      Tiles::transform_output(rows[i], pixels);
#pragma GCC unroll 4
      for (int j = 0; j < outputs; ++j) {
        if (j >= width) break;
        const int64_t at = first + (i * call.width + j) * call.out + c;
        const auto pixel = pixels[j] + shift;
        store<W>(call.output + at, call.residual ? pixel + load<W>(call.residual + at) : pixel);
      }
    }
  }
}

/// Tiles begin to end, at most a block: transformed, multiplied for each position, transformed back.
template <class W, class Tiles, class T> SYNCDR_INLINE void convolve_tiles(const WinogradCall<T>& call, int64_t begin, int64_t end, const Between<T>& between) {
  const int64_t count = end - begin, in_stride = call.block * call.in, out_stride = call.block * call.out;
  for (int64_t i = 0; i < count; ++i) transform_input<W, Tiles>(call, tile_at<Tiles>(call, begin + i), between.inputs + i * call.in, in_stride);
  for (int position = 0; position < positions<Tiles>; ++position) {
    if (Tiles::is_zero(position / Tiles::side) || Tiles::is_zero(position % Tiles::side)) continue;
    const T* weight = call.weight + position * call.in * call.out;
    float* products = between.products + position * out_stride;
    for (int64_t c = 0; c < call.out; c += panel) {
      multiply_panel<W>(between.inputs + position * in_stride, call.in, weight + c * call.in, call.in, count,
                        [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA { store<W>(products + row * call.out + c + column, sums); });
    }
  }
  for (int64_t i = 0; i < count; ++i) transform_output<W, Tiles>(call, tile_at<Tiles>(call, begin + i), between.products + i * call.out, out_stride);
}

using Floats = WinogradCall<float>;
using Bfloats = WinogradCall<c10::BFloat16>;
template <class Tiles> SYNCDR_AVX512 void convolve_wide(const Floats& call, int64_t begin, int64_t end, const Between<float>& between) {
  convolve_tiles<Wide, Tiles>(call, begin, end, between);
}
template <class Tiles> SYNCDR_AVX2 void convolve_narrow(const Floats& call, int64_t begin, int64_t end, const Between<float>& between) {
  convolve_tiles<Narrow, Tiles>(call, begin, end, between);
}
template <class Tiles> SYNCDR_AVX512_BF16 void convolve(const Bfloats& call, int64_t begin, int64_t end, const Between<c10::BFloat16>& between) {
  convolve_tiles<Wide, Tiles>(call, begin, end, between);
}
template <class Tiles> void convolve(const Floats& call, int64_t begin, int64_t end, const Between<float>& between) {
  (registers() == Registers::wide ? convolve_wide<Tiles> : convolve_narrow<Tiles>)(call, begin, end, between);
}

#else
template <class Tiles, class T> void convolve(const WinogradCall<T>&, int64_t, int64_t, const Between<T>&) {}  // winograd_takes nothing
#endif

/// Tiles that are worked on together: what lies between the transforms is to stay in the second-level cache, a panel of weights is to serve many rows.
template <class Tiles, class T> int64_t tiles_of_block(int64_t in, int64_t out) {
  constexpr int64_t bytes = 400 * 1024, least = 24, most = 192;  // multiples of both widths' rows
  const int64_t of_tile = positions<Tiles> * (in * int64_t(sizeof(T)) + out * int64_t(sizeof(float)));
  return std::clamp(bytes / of_tile / least * least, least, most);
}

template <class Tiles, class T> at::Tensor convolved(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual) {
  constexpr int64_t times = Tiles::doubles ? 2 : 1;
  const at::Tensor x = input.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t batch = x.size(0), in = x.size(1), out = weight.size(1) * weight.size(3), height = times * x.size(2), width = times * x.size(3);
  at::Tensor output = at::empty({batch, out, height, width}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
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
                             .height = height,
                             .width = width,
                             .in = in,
                             .out = out,
                             .tile_rows = (height + Tiles::outputs - 1) / Tiles::outputs,
                             .tile_columns = (width + Tiles::outputs - 1) / Tiles::outputs,
                             .block = tiles_of_block<Tiles, T>(in, out)};
  const int64_t tiles = batch * call.tile_rows * call.tile_columns;
  at::parallel_for(0, (tiles + call.block - 1) / call.block, 1, [&](int64_t begin, int64_t end) {
    const at::Tensor inputs = at::empty({positions<Tiles>, call.block, in}, x.options());
    const at::Tensor products = at::empty({positions<Tiles>, call.block, out}, at::kFloat);
    const Between<T> between{.inputs = inputs.mutable_data_ptr<T>(), .products = products.mutable_data_ptr<float>()};
    for (int64_t i = begin; i < end; ++i) convolve<Tiles>(call, i * call.block, std::min((i + 1) * call.block, tiles), between);
  });
  return output;
}

template <class Tiles> at::Tensor transformed_weight(const at::Tensor& weight) {
  const int64_t out = weight.size(0), in = weight.size(1), pack = weight.scalar_type() == at::kFloat ? together<float> : together<c10::BFloat16>;
  const at::Tensor transform = at::tensor(at::ArrayRef<double>(&Tiles::weight[0][0], 3 * Tiles::side), at::kDouble).view({Tiles::side, 3});
  const at::Tensor packed = at::empty({positions<Tiles>, out / panel, in / pack, panel, pack}, weight.options().requires_grad(false));
  constexpr int64_t most = 4 * panel;  // channels at a time, since they are many times as large on the way
  for (int64_t first = 0; first < out; first += most) {
    const int64_t count = std::min(most, out - first);
    const at::Tensor part = weight.detach().narrow(0, first, count).to(at::kDouble);
    const at::Tensor both = at::einsum("ia,jb,ocab->ijco", {transform, transform, part});
    packed.narrow(1, first / panel, count / panel).copy_(both.reshape({positions<Tiles>, in / pack, pack, count / panel, panel}).permute({0, 3, 1, 4, 2}));
  }
  return packed;
}

}  // namespace

bool winograd_takes(int64_t in_channels, int64_t out_channels, at::ScalarType type) {
  // The weights grow by 16/9: wider layers (Stable Diffusion's 1280 channels) would take gigabytes.
  constexpr int64_t most_pairs = 1 << 20;
  return computes_in(type) && in_channels % 16 == 0 && out_channels % panel == 0 && in_channels * out_channels <= most_pairs;
}

bool winograd_takes_large_tiles(int64_t in_channels, int64_t out_channels, at::ScalarType type) {
  constexpr int64_t most_pairs = 1 << 17;  // the weights grow by 4: not those of Stable Diffusion's 512 and 640 channels
  return type == at::kFloat && winograd_takes(in_channels, out_channels, type) && in_channels * out_channels <= most_pairs;
}

at::Tensor winograd_weight(const at::Tensor& weight, bool large_tiles) {
  return large_tiles ? transformed_weight<LargeTiles>(weight) : transformed_weight<SmallTiles>(weight);
}

at::Tensor winograd_convolution(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& residual) {
  if (weight.size(0) == positions<LargeTiles>) return convolved<LargeTiles, float>(input, weight, bias, residual);
  return (input.scalar_type() == at::kFloat ? convolved<SmallTiles, float> : convolved<SmallTiles, c10::BFloat16>)(input, weight, bias, residual);
}

at::Tensor winograd_doubled(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias) {
  return (input.scalar_type() == at::kFloat ? convolved<DoubledTiles, float> : convolved<DoubledTiles, c10::BFloat16>)(input, weight, bias, {});
}

}  // namespace syncdr::kernels
