#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "syncdr/core/config.h"
#include "syncdr/training/part.h"

namespace syncdr::comm {
class World;
}

namespace syncdr::retrieval {

struct BankConfig {
  std::string placement = "replicated";
  std::string precision = "fp32";

  void visit(core::Fields& field) {
    field(placement, "placement", "rows of the memory banks: all on every rank, or a part on each, which takes 1/ranks of the memory",
          {"replicated", "sharded"});
    field(precision, "precision", "numbers of the memory banks; fp32: those of the features, fp64 where train.precision is; bf16: half of fp32's memory",
          {"fp32", "bf16"});
  }
};

/// One unit row for each entry of a domain's training set, constant for the backward pass. Replicated: every rank holds all rows and applies the same
/// updates. Sharded: each rank holds those of training::part_of(size, rank, ranks); what takes a sharded bank is a collective, given equal arguments by
/// all ranks.
class MemoryBank {
 public:
  /// All rows [N, D], unit rows, float, double or bfloat16; taken over, not copied.
  explicit MemoryBank(at::Tensor rows, double momentum = 0.5);
  /// This rank's rows of `size`.
  MemoryBank(comm::World& world, at::Tensor rows, int64_t size, double momentum = 0.5);

  comm::World* world() const { return world_; }     ///< null: replicated
  int64_t size() const { return size_; }            ///< rows on all ranks together
  training::Part part() const { return part_; }     ///< rows that lie here
  const at::Tensor& rows() const { return rows_; }  ///< those: [part().size(), D]

  /// Of ids [B] int64 those that lie here: their rows in the type of `like` [B, D], zero for the others.
  at::Tensor rows_here(const at::Tensor& ids, const at::Tensor& like) const;
  /// Rows become values [B, D] at those of ids [B] that lie here.
  void put(const at::Tensor& ids, const at::Tensor& values);
  /// m[id] <- normalise(momentum m[id] + (1 - momentum) f). ids [B] int64; features [B, D]; no collective. Throws UsageError if an id lies outside the
  /// bank or occurs twice.
  void update(const at::Tensor& ids, const at::Tensor& features);

 private:
  at::Tensor rows_;
  comm::World* world_ = nullptr;
  int64_t size_;
  training::Part part_;
  double momentum_;
};

/// A bank of config for `size` entries, its rows not yet set. features: of the encoder, their type and device. Throws IoError if there is no memory for it.
MemoryBank make_bank(comm::World& world, const BankConfig& config, int64_t size, int64_t dim, const at::TensorOptions& features, double momentum);

/// Of the rows of all banks together: equal, on any number of ranks and whether sharded or not, if and only if all bits are (but for chance, 1 in 2^53). A
/// collective; below 2^53, so that a double holds it.
int64_t checksum(comm::World& world, const std::vector<MemoryBank>& banks);

/// Throws UsageError unless ids [B] int64 names one row of the bank for each of features [B, D]. Ids on the CPU are checked without waiting for a GPU.
void check_ids(const at::Tensor& ids, const at::Tensor& features, const MemoryBank& bank);

}  // namespace syncdr::retrieval
