#include "bank_search.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/stack.h>

#include <limits>

#include "syncdr/comm/world.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/one_thread.h"
#include "syncdr/retrieval/running_best.h"
#include "syncdr/training/part.h"

namespace syncdr::retrieval {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

int64_t divided(int64_t count, int64_t by) { return (count + by - 1) / by; }

/// Queries in blocks: on a CPU as many at a time as there are threads, each in one thread, so that a block's logits stay in its cache.
void in_blocks(const at::Tensor& queries, const std::function<void(training::Part)>& body) {
  const int64_t count = queries.size(0), threads = queries.is_cpu() ? at::get_num_threads() : 1;
  const int64_t even = divided(divided(count, queries.is_cpu() ? 128 : 4096), threads) * threads;
  const int64_t blocks = std::min(even, divided(count, 16));  // of fewer rows than 16 products are slow
  const auto block = [&](int64_t index) { body(training::part_of(count, static_cast<int>(index), static_cast<int>(blocks))); };
  if (queries.is_cpu()) {
    nn::each_in_one_thread(blocks, block);
  } else {
    for (int64_t index = 0; index < blocks; ++index) block(index);
  }
}

at::Tensor within(const at::Tensor& rows, training::Part part) { return rows.slice(0, part.first, part.last); }

/// Calls body(scores [b, n], rows [n, D] in the type of queries, first row) for one tile after the other. What scores holds may be changed.
template <class Body> void over_tiles(const at::Tensor& queries, const at::Tensor& rows, const Body& body) {
  const int64_t tile = queries.is_cpu() ? 1024 : 8192;
  const at::Tensor room = queries.new_empty({queries.size(0), std::min(tile, rows.size(0))});
  for (int64_t first = 0; first < rows.size(0); first += tile) {
    const at::Tensor piece = rows.slice(0, first, first + tile).to(queries.scalar_type());
    at::Tensor scores = room.narrow(1, 0, piece.size(0));
    at::mm_out(scores, queries, piece.t());
    body(scores, piece, first);
  }
}

}  // namespace

// As in flash attention with the rows as keys and as values: when a tile raises the largest, the sums so far are scaled down.
SoftSum soft_sum(const at::Tensor& queries, const at::Tensor& rows, double temperature) {
  const int64_t count = queries.size(0);
  const at::Tensor scaled = queries / temperature, largest = queries.new_full({count, 1}, -infinity), sum = queries.new_zeros({count, 1}),
                   weighted = at::zeros_like(queries);
  in_blocks(scaled, [&](training::Part block) {
    at::Tensor highest = within(largest, block), total = within(sum, block), values = within(weighted, block);
    over_tiles(within(scaled, block), rows, [&](at::Tensor& scores, const at::Tensor& piece, int64_t) {
      const at::Tensor next = at::maximum(highest, scores.amax(1, /*keepdim=*/true)), factor = (highest - next).exp_();
      // exp(-80) of the largest is nothing beside it, and exponentials that underflow take LibTorch's CPU kernel a hundred times as long.
      scores.sub_(next).clamp_min_(-80).exp_();
      total.mul_(factor).add_(scores.sum(1, /*keepdim=*/true));
      values.mul_(factor).addmm_(scores, piece);
      highest.copy_(next);
    });
  });
  return {largest.squeeze(1), sum.squeeze(1), weighted};
}

Nearest nearest(const at::Tensor& queries, const at::Tensor& rows, int64_t k) {
  SYNCDR_ASSERT(k > 0 && k <= rows.size(0), "{} nearest of {} rows", k, rows.size(0));
  const Nearest all{queries.new_empty({queries.size(0), k}), at::empty({queries.size(0), k}, queries.options().dtype(at::kLong))};
  in_blocks(queries, [&](training::Part block) {
    RunningBest best(block.size(), k, queries.options());
    over_tiles(within(queries, block), rows, [&](const at::Tensor& scores, const at::Tensor&, int64_t first) { best.offer(scores, first); });
    const auto [scores, index] = best.in_order();
    within(all.scores, block).copy_(scores);
    within(all.rows, block).copy_(index);
  });
  return all;
}

// Finds the score of the last chosen row digit by digit: counts of 15 bounds at a time.
at::Tensor chosen_of_all(comm::World& world, const at::Tensor& scores, int64_t top) {
  constexpr int64_t digit = 4;  // bits
  const bool wide = scores.scalar_type() == at::kDouble;
  // A positive float's bits sort as an integer; of a negative one all bits but the sign are flipped. + 0 makes -0 equal to 0.
  const at::Tensor bits = scores.add(0).view(wide ? at::kLong : at::kInt), low_bits = at::full({}, wide ? INT64_MAX : INT32_MAX, bits.options());
  const at::Tensor falling = bits.bitwise_xor(bits.bitwise_right_shift(wide ? 63 : 31).bitwise_and(low_bits)).to(at::kLong);
  const at::Tensor keys = falling.flip(1);
  const auto at_least = [&](const at::Tensor& bounds) { return keys.size(1) - at::searchsorted(keys, bounds); };  // [B, m] -> [B, m]
  at::Tensor bound = at::full({scores.size(0), 1}, wide ? INT64_MIN : INT32_MIN, keys.options());
  for (int64_t shift = (wide ? 64 : 32) - digit; shift >= 0; shift -= digit) {
    const at::Tensor steps = at::arange(1, int64_t{1} << digit, keys.options()).bitwise_left_shift(shift);
    at::Tensor counts = at_least(bound + steps);
    world.all_reduce_sum(counts, "nearest rows of the memory bank");
    bound = bound + counts.ge(top).sum(1, /*keepdim=*/true).bitwise_left_shift(shift);
  }
  const at::Tensor above = at_least(bound + 1), equal = at_least(bound) - above;
  const at::Tensor all = world.all_gather_rows(at::stack({above, equal}).squeeze(2).unsqueeze(0), "equally near rows of the memory bank");  // [ranks, 2, B]
  const at::Tensor left = top - all.select(1, 0).sum(0) - all.select(1, 1).narrow(0, 0, world.rank()).sum(0);
  return above.squeeze(1) + left.clamp_min(0).minimum(equal.squeeze(1));
}

at::Tensor weighted_rows(const at::Tensor& weights, const at::Tensor& index, const at::Tensor& rows) {
  const at::Tensor sums = weights.new_empty({weights.size(0), rows.size(1)});
  in_blocks(weights, [&](training::Part block) {
    const int64_t most = weights.is_cpu() ? 8 : 256;  // queries whose rows are gathered at a time
    for (int64_t first = block.first; first < block.last; first += most) {
      const training::Part some{first, std::min(first + most, block.last)};
      const at::Tensor gathered = rows.index_select(0, within(index, some).reshape({-1})).to(weights.scalar_type());
      within(sums, some).copy_(at::bmm(within(weights, some).unsqueeze(1), gathered.view({some.size(), -1, rows.size(1)})).squeeze(1));
    }
  });
  return sums;
}

}  // namespace syncdr::retrieval
