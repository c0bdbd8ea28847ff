#include "syncdr/retrieval/losses.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "bank_search.h"
#include "syncdr/comm/world.h"
#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

void sum_over_ranks(const MemoryBank& bank, at::Tensor& tensor, const char* what) {
  if (bank.world()) bank.world()->all_reduce_sum(tensor, what);
}

/// What a softmax over rows of several ranks is divided by: sum exp(x - largest).
struct Normaliser {
  at::Tensor largest, sum;  // [B]
};

Normaliser over_ranks(const MemoryBank& bank, const Normaliser& own) {
  if (!bank.world()) return own;
  const at::Tensor all = bank.world()->all_gather_rows(at::stack({own.largest, own.sum}).unsqueeze(0), "softmax over the memory bank");
  const at::Tensor largest = all.select(1, 0), whole = largest.amax(0);
  return {whole, (all.select(1, 1) * (largest - whole).exp()).sum(0)};
}

}  // namespace

RowLosses instance_discrimination(const at::Tensor& features, const MemoryBank& bank, const at::Tensor& ids, double temperature) {
  const at::NoGradGuard no_gradient;
  check_ids(ids, features, bank);
  const SoftSum here = soft_sum(features, bank.rows(), temperature);
  const Normaliser all = over_ranks(bank, {here.largest, here.sum});
  const at::Tensor own = bank.rows_here(ids, features);
  const at::Tensor share = here.weighted * ((here.largest - all.largest).exp() / all.sum).unsqueeze(1) - own;  // sums to sum_j p_j m_j - m_id
  at::Tensor sums = at::cat({share, (features * own).sum(1, /*keepdim=*/true)}, 1);
  sum_over_ranks(bank, sums, "instance discrimination");
  const int64_t dim = features.size(1);
  return {all.largest + all.sum.log() - sums.select(1, dim) / temperature, sums.narrow(1, 0, dim) / temperature};
}

RowLosses cross_domain_matching(const at::Tensor& features, const MemoryBank& other_bank, double temperature, int64_t top) {
  const at::NoGradGuard no_gradient;
  top = std::min(top, other_bank.size());
  Nearest here = nearest(features, other_bank.rows(), std::min(top, other_bank.rows().size(0)));
  at::Tensor logits = here.scores / temperature;
  if (other_bank.world()) {
    const at::Tensor chosen = chosen_of_all(*other_bank.world(), here.scores, top).unsqueeze(1);
    logits.masked_fill_(at::arange(logits.size(1), chosen.options()).unsqueeze(0).ge(chosen), -std::numeric_limits<double>::infinity());
    const int64_t most = std::max<int64_t>(1, chosen.numel() > 0 ? chosen.max().item<int64_t>() : 0);
    logits = logits.narrow(1, 0, most);
    here.rows = here.rows.narrow(1, 0, most);
  }
  const at::Tensor largest = logits.select(1, 0), own_sum = (logits - largest.unsqueeze(1)).exp().nan_to_num(0).sum(1);
  const Normaliser all = over_ranks(other_bank, {largest, own_sum});
  // H = -sum p log(p + e). dH/dp = -slope, hence dH/dlogit_j = p_j (sum p slope - slope_j).
  const at::Tensor p = (logits - all.largest.unsqueeze(1)).exp() / all.sum.unsqueeze(1), logarithm = (p + 1e-5).log(), slope = logarithm + p / (p + 1e-5);
  at::Tensor sums = at::stack({(p * logarithm).sum(1), (p * slope).sum(1)});
  sum_over_ranks(other_bank, sums, "entropies of cross-domain matching");
  at::Tensor gradient = weighted_rows(p * (sums[1].unsqueeze(1) - slope) / temperature, here.rows, other_bank.rows());
  sum_over_ranks(other_bank, gradient, "cross-domain matching");
  return {-sums[0], gradient};
}

PairLosses pseudo_positive_pairs(const at::Tensor& queries, const at::Tensor& others, const at::Tensor& weights, double temperature) {
  const at::NoGradGuard no_gradient;
  SYNCDR_ASSERT(queries.sizes() == others.sizes(), "{} queries, {} others", queries.size(0), others.size(0));
  constexpr int64_t most = 1024;  // rows of logits at a time
  PairLosses all{queries.new_empty({queries.size(0)}), at::empty_like(queries), at::zeros_like(others)};
  for (int64_t first = 0; first < queries.size(0); first += most) {
    const auto piece = [&, last = std::min(first + most, queries.size(0))](const at::Tensor& tensor) { return tensor.slice(0, first, last); };
    at::Tensor logits = at::mm(piece(queries), others.t()).div_(temperature);
    const at::Tensor own = logits.diagonal(first), normaliser = logits.logsumexp(1, /*keepdim=*/true);
    const at::Tensor weight = piece(weights).unsqueeze(1);
    piece(all.losses).copy_((normaliser.squeeze(1) - own) * piece(weights));
    logits.sub_(normaliser).exp_();  // p
    own.sub_(1);
    at::Tensor of_queries = piece(all.queries_gradient);
    at::mm_out(of_queries, logits, others).div_(temperature).mul_(weight);
    all.others_gradient.addmm_(logits.t(), piece(queries) * weight, 1, 1 / temperature);
  }
  return all;
}

}  // namespace syncdr::retrieval
