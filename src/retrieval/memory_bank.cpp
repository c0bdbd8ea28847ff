#include "syncdr/retrieval/memory_bank.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_unique.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <atomic>

#include "syncdr/comm/world.h"
#include "syncdr/core/error.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/unit_rows.h"

namespace syncdr::retrieval {

MemoryBank::MemoryBank(at::Tensor rows, double momentum) : rows_(std::move(rows)), size_(rows_.size(0)), part_{0, size_}, momentum_(momentum) {
  SYNCDR_ASSERT(rows_.dim() == 2 && !rows_.requires_grad(), "a memory bank needs constant rows [N, D]");
}

MemoryBank::MemoryBank(comm::World& world, at::Tensor rows, int64_t size, double momentum) : MemoryBank(std::move(rows), momentum) {
  world_ = &world;
  size_ = size;
  part_ = training::part_of(size, world.rank(), world.size());
  SYNCDR_ASSERT(rows_.size(0) == part_.size() && part_.size() > 0, "{} rows of a part of {}", rows_.size(0), part_.size());
}

at::Tensor MemoryBank::rows_here(const at::Tensor& ids, const at::Tensor& like) const {
  const at::Tensor local = ids - part_.first, here = local.ge(0).logical_and_(local.lt(part_.size()));
  const at::Tensor found = rows_.index_select(0, local.clamp(0, part_.size() - 1).to(rows_.device()));
  return found.to(like.scalar_type()) * here.unsqueeze(1).to(rows_.device());
}

void MemoryBank::put(const at::Tensor& ids, const at::Tensor& values) {
  const at::NoGradGuard no_gradient;
  const at::Tensor local = ids - part_.first, here = local.ge(0).logical_and_(local.lt(part_.size())).nonzero().squeeze(1);
  const at::Tensor to = local.index_select(0, here).to(rows_.device());
  rows_.index_copy_(0, to, values.detach().to(rows_.device()).index_select(0, here.to(rows_.device())).to(rows_.scalar_type()));
}

void MemoryBank::update(const at::Tensor& ids, const at::Tensor& features) {
  check_ids(ids, features, *this);
  if (std::get<0>(at::_unique(ids)).size(0) != ids.size(0)) throw core::UsageError("an entry occurs twice in one update of the memory bank");
  const at::NoGradGuard no_gradient;
  // For all ids on every rank: kernels for few rows round otherwise, and a row's bits must not depend on where it lies.
  const at::Tensor constant = features.detach().to(rows_.device());
  put(ids, nn::unit_rows(momentum_ * rows_here(ids, constant) + (1 - momentum_) * constant));
}

MemoryBank make_bank(comm::World& world, const BankConfig& config, int64_t size, int64_t dim, const at::TensorOptions& features, double momentum) {
  const bool sharded = config.placement == "sharded" && world.size() > 1;
  const int64_t here = sharded ? training::part_of(size, world.rank(), world.size()).size() : size;
  at::Tensor rows;
  try {
    rows = at::empty({here, dim}, config.precision == "bf16" ? features.dtype(at::kBFloat16) : features);
  } catch (const c10::Error& error) {
    throw core::IoError("no memory for {} rows x {} numbers of a memory bank: {}. Use train.bank.placement = \"sharded\" with more ranks, or bf16.", here, dim,
                        error.what_without_backtrace());
  }
  return sharded ? MemoryBank(world, rows, size, momentum) : MemoryBank(rows, momentum);
}

int64_t checksum(comm::World& world, const std::vector<MemoryBank>& banks) {
  std::atomic<uint64_t> sum = 0;
  for (size_t k = 0; k < banks.size(); ++k) {
    const MemoryBank& bank = banks[k];
    const training::Part part = training::part_of(bank.size(), world.rank(), world.size());  // of a replicated bank, too: its rows are hashed once
    constexpr int64_t most = 65536;
    for (int64_t first = part.first; first < part.last; first += most) {
      const int64_t count = std::min(most, part.last - first);
      const at::Tensor rows = bank.rows().narrow(0, first - bank.part().first, count).cpu().contiguous();
      const size_t bytes = rows.nbytes() / static_cast<size_t>(count);
      const char* data = static_cast<const char*>(rows.const_data_ptr());
      at::parallel_for(0, count, 1024, [&](int64_t begin, int64_t end) {
        uint64_t own = 0;
        for (int64_t row = begin; row < end; ++row) {
          const uint64_t what[3] = {k, static_cast<uint64_t>(first + row), io::hash64({data + static_cast<size_t>(row) * bytes, bytes})};
          own += io::hash64({reinterpret_cast<const char*>(what), sizeof what});
        }
        sum += own;
      });
    }
  }
  at::Tensor whole = at::full({1}, static_cast<int64_t>(sum.load()), at::kLong);
  world.all_reduce_sum(whole, "checksum of the memory banks");
  return whole.item<int64_t>() & ((int64_t{1} << 53) - 1);
}

void check_ids(const at::Tensor& ids, const at::Tensor& features, const MemoryBank& bank) {
  const at::Tensor& rows = bank.rows();
  if (features.dim() != 2 || features.size(1) != rows.size(1)) {
    throw core::UsageError("features {} do not fit the memory bank {}x{}", fmt::join(features.sizes(), "x"), bank.size(), rows.size(1));
  }
  if (ids.dim() != 1 || ids.size(0) != features.size(0)) {
    throw core::UsageError("{} features, but {} rows of the memory bank", features.size(0), ids.numel());
  }
  if (ids.numel() == 0) return;
  const auto [low, high] = ids.aminmax();
  if (low.item<int64_t>() < 0 || high.item<int64_t>() >= bank.size()) {
    throw core::UsageError("rows {} to {} of a memory bank that has {}", low.item<int64_t>(), high.item<int64_t>(), bank.size());
  }
}

}  // namespace syncdr::retrieval
