#pragma once
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "mpi_thread.h"

/// c10d's interface over nonblocking MPI collectives, for tensors in CPU memory. Private to comm.
namespace syncdr::comm {

/// The collectives that World and c10d::Reducer use. All return at once; the MPI thread completes them, in the order of the calls, while the caller
/// computes. Tensors must be dense, contiguous and on the CPU, and must not be touched until the work is complete.
///
/// Reductions (SUM, MIN, MAX): float32, float64, int32, int64, uint8; SUM also for float16 and bfloat16, each addition made in float and rounded.
/// MPI requires that all ranks receive identical results (MPI 3.1, 5.9.1). Anything else throws BugError. At most 2^31 - 1 elements a rank
/// where a result has one part for each rank; any number otherwise.
class MpiBackend : public c10d::Backend {
 public:
  explicit MpiBackend(MpiThread& thread);
  ~MpiBackend() override;

  const std::string getBackendName() const override { return "mpi"; }
  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) override;
  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) override;
  c10::intrusive_ptr<c10d::Work> allgather(std::vector<std::vector<at::Tensor>>& outputs, std::vector<at::Tensor>& inputs,
                                           const c10d::AllgatherOptions& options) override;
  c10::intrusive_ptr<c10d::Work> _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) override;
  c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions& options) override;

 private:
  struct HalfSums;  ///< sums that MPI does not know
  c10::intrusive_ptr<c10d::Work> start(c10d::OpType type, std::vector<at::Tensor> results, MpiWork::Start start, std::function<void()> unpack = {});
  std::pair<MPI_Datatype, MPI_Op> reduction(at::ScalarType type, const c10d::ReduceOp& op) const;

  MpiThread& thread_;
  std::unique_ptr<HalfSums> half_sums_;
};

}  // namespace syncdr::comm
