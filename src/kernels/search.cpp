#include "syncdr/kernels/search.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "vectors.h"

namespace syncdr::kernels {
namespace {

constexpr float lowest = -std::numeric_limits<float>::infinity();
constexpr uint32_t last_column = 0xFFFFFFFF;

// A float's bits sort as an int32 if it is positive; of a negative one all bits but the sign are flipped. The map is its own inverse.
int32_t sortable(int32_t bits) { return bits ^ ((bits >> 31) & 0x7FFFFFFF); }

uint64_t key_of(float score, int64_t column) {
  const auto upper = static_cast<uint32_t>(sortable(std::bit_cast<int32_t>(score + 0.f))) ^ 0x80000000;  // + 0 makes -0 equal to 0
  return uint64_t{upper} << 32 | (last_column - static_cast<uint32_t>(column));
}

float score_of(uint64_t key) { return std::bit_cast<float>(sortable(static_cast<int32_t>(static_cast<uint32_t>(key >> 32) ^ 0x80000000))); }
int64_t column_of(uint64_t key) { return last_column - static_cast<uint32_t>(key); }

int64_t panels_of(int64_t rows) { return (rows + panel - 1) / panel; }

struct Products {
  const float* packed;  // [panels, depth, panel]
  const float* others;  // [count, depth]
  int64_t panels, depth, count, stride;

  Products(const at::Tensor& packed_rows, const at::Tensor& rows)
      : packed(packed_rows.const_data_ptr<float>()), others(rows.const_data_ptr<float>()), panels(packed_rows.size(0)), depth(packed_rows.size(1)),
        count(rows.size(0)), stride(rows.stride(0)) {}
};

#ifdef SYNCDR_HAS_VECTORS
// finish(row, column, sums) for each register of scores: of others' row `column` with packed rows row, row + 1, ... Columns ascend for each row.
template <class W, class Finish> SYNCDR_INLINE void multiply(const Products& call, const Finish& finish) {
  // They stay in the second-level cache while all panels pass by.
  const int64_t block = std::max<int64_t>(W::rows, 49152 / std::max<int64_t>(call.depth, 1) / W::rows * W::rows);
  for (int64_t begin = 0; begin < call.count; begin += block)
    for (int64_t p = 0; p < call.panels; ++p)
      multiply_panel<W>(call.others + begin * call.stride, call.stride, call.packed + p * panel * call.depth, call.depth, std::min(block, call.count - begin),
                        [&](int64_t column, int64_t row, auto sums) SYNCDR_INLINE_LAMBDA { finish(p * panel + row, begin + column, sums); });
}

struct Scores {
  float* to;
  int64_t rows, stride;
};

template <class W> SYNCDR_INLINE void write(const Products& call, const Scores& scores) {
  multiply<W>(call, [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA {
    float* to = scores.to + row * scores.stride + column;
    for (int64_t i = 0; i < std::min(W::size, scores.rows - row); ++i) to[i * scores.stride] = sums[i];
  });
}

SYNCDR_AVX512 void write_wide(const Products& call, const Scores& scores) { write<Wide>(call, scores); }
SYNCDR_AVX2 void write_narrow(const Products& call, const Scores& scores) { write<Narrow>(call, scores); }
#endif

}  // namespace

#ifdef SYNCDR_HAS_VECTORS
struct BestCall {
  BestColumns& best;
  int64_t first;

  // Scores of one column, of which those in `which` are among the best so far.
  template <class W> SYNCDR_INLINE void take(int64_t row, int64_t column, typename W::Vector sums, uint32_t which) const {
    float scores[W::size];
    store<W>(scores, sums);
    for (; which != 0; which &= which - 1) {
      const int i = std::countr_zero(which);
      best.take(row + i, scores[i], first + column);
    }
    if (best.highest_.empty()) return;
    float* highest = best.highest_.data() + row / panel * panel * best.k_ + row % panel;
    typename W::Vector last{};
    for (int64_t i = 0; i < best.k_; ++i, highest += panel) {
      const auto held = load<W>(highest);
      last = held > sums ? held : sums;
      sums = held > sums ? sums : held;
      store<W>(highest, last);
    }
    float* worst = best.worst_.data() + row;
    const auto before = load<W>(worst);
    store<W>(worst, before > last ? before : last);
  }
  // Rarely called; what surrounds it has all registers for products.
  __attribute__((noinline)) SYNCDR_AVX512 void take(int64_t row, int64_t column, Wide::Vector sums, uint32_t which) const {
    take<Wide>(row, column, sums, which);
  }
  __attribute__((noinline)) SYNCDR_AVX2 void take(int64_t row, int64_t column, Narrow::Vector sums, uint32_t which) const {
    take<Narrow>(row, column, sums, which);
  }

  template <class W> SYNCDR_INLINE void offer(const Products& call) const {
    const float* worst = best.worst_.data();
    typename W::Vector not_finite{};
    multiply<W>(call, [&](int64_t row, int64_t column, auto sums) SYNCDR_INLINE_LAMBDA {
      not_finite += sums - sums;  // 0, and of infinity and NaN NaN
      if (const uint32_t which = W::above(sums, load<W>(worst + row))) take(row, column, sums, which);
    });
    for (int64_t i = 0; i < W::size; ++i) best.finite_ = best.finite_ && not_finite[i] == 0;
  }
};

namespace {
SYNCDR_AVX512 void offer_wide(const BestCall& call, const Products& products) { call.offer<Wide>(products); }
SYNCDR_AVX2 void offer_narrow(const BestCall& call, const Products& products) { call.offer<Narrow>(products); }
}  // namespace
#endif

bool search_takes() { return registers() != Registers::none; }

at::Tensor packed_rows(const at::Tensor& rows) {
  const int64_t count = rows.size(0), depth = rows.size(1);
  const at::Tensor packed = at::empty({panels_of(count), depth, panel}, rows.options()), source = rows.contiguous();
  float* to = packed.mutable_data_ptr<float>();
  for (int64_t first = 0; first < count; first += panel) {
    const float* from = source.const_data_ptr<float>() + first * depth;
    const int64_t here = std::min(panel, count - first);
    for (int64_t d = 0; d < depth; ++d, to += panel) {
      for (int64_t i = 0; i < here; ++i) to[i] = from[i * depth + d];
      std::fill(to + here, to + panel, 0.f);
    }
  }
  return packed;
}

void scores_into(const at::Tensor& scores, const at::Tensor& packed, const at::Tensor& others) {
#ifdef SYNCDR_HAS_VECTORS
  (registers() == Registers::wide ? write_wide : write_narrow)({packed, others}, {scores.mutable_data_ptr<float>(), scores.size(0), scores.stride(0)});
#endif
}

BestColumns::BestColumns(int64_t rows, int64_t k)
    : k_(k), capacity_(k + std::clamp<int64_t>(k, 64, 4096)), keys_(static_cast<size_t>(rows * capacity_)), counts_(static_cast<size_t>(rows)),
      worst_(static_cast<size_t>(panels_of(rows) * panel), std::numeric_limits<float>::infinity()) {
  constexpr int64_t most = 32;  // beyond that selecting now and then is cheaper
  std::fill_n(worst_.begin(), rows, lowest);
  if (k <= most) highest_.assign(worst_.size() * static_cast<size_t>(k), lowest);
}

BestColumns BestColumns::next() const {
  BestColumns result(std::ssize(counts_), k_);
  result.worst_ = worst_;
  return result;
}

void BestColumns::take(int64_t row, float score, int64_t column) {
  int64_t& count = counts_[static_cast<size_t>(row)];
  keys_[static_cast<size_t>(row * capacity_ + count++)] = key_of(score, column);
  if (count == capacity_) cut(row);
}

void BestColumns::cut(int64_t row) {
  int64_t& count = counts_[static_cast<size_t>(row)];
  float& worst = worst_[static_cast<size_t>(row)];
  const auto keys = keys_.begin() + row * capacity_;
  const uint64_t least = key_of(worst, last_column);
  count = std::remove_if(keys, keys + count, [&](uint64_t key) { return key < least; }) - keys;
  if (count < k_) return;
  if (count > k_) std::nth_element(keys, keys + (k_ - 1), keys + count, std::greater<>());
  count = k_;
  worst = std::max(worst, score_of(*std::min_element(keys, keys + k_)));
}

void BestColumns::offer(const at::Tensor& packed, const at::Tensor& others, int64_t first) {
#ifdef SYNCDR_HAS_VECTORS
  (registers() == Registers::wide ? offer_wide : offer_narrow)({*this, first}, {packed, others});
#endif
}

void BestColumns::merge(BestColumns& other) {
  finite_ = finite_ && other.finite_;
  for (int64_t row = 0; row < std::ssize(counts_); ++row) {
    other.cut(row);
    int64_t& count = counts_[static_cast<size_t>(row)];
    for (int64_t i = 0; i < other.counts_[static_cast<size_t>(row)]; ++i) {
      keys_[static_cast<size_t>(row * capacity_ + count++)] = other.keys_[static_cast<size_t>(row * capacity_ + i)];
      if (count == capacity_) cut(row);
    }
    cut(row);
  }
}

void BestColumns::in_order(const at::Tensor& scores, const at::Tensor& columns) {
  float* score = scores.mutable_data_ptr<float>();
  int64_t* column = columns.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < std::ssize(counts_); ++row) {
    cut(row);
    const auto keys = keys_.begin() + row * capacity_;
    std::sort(keys, keys + k_, std::greater<>());
    for (int64_t i = 0; i < k_; ++i, ++score, ++column) {
      *score = score_of(keys[i]);
      *column = column_of(keys[i]);
    }
  }
}

}  // namespace syncdr::kernels
