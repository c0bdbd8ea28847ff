#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "syncdr/core/config.h"
#include "syncdr/core/error.h"

namespace c10d {
class ProcessGroup;
}

namespace syncdr::comm {

struct CommConfig {
  std::string device = "auto";
  double deadline = 300;
  int64_t threads = 0;

  void visit(core::Fields& field) {
    field(device, "device", "where models run: a GPU for each rank if there is one, else the CPU", {"auto", "cpu", "cuda"});
    field(deadline, "deadline", "seconds after which a collective whose peers do not come ends the job", core::above(0));
    field(threads, "threads", "compute threads of a rank; 0: its share of the cores it may use", core::at_least(0));
  }
};

/// One process of a job: MPI's life cycle, the rank's device, c10d's store and process group, and the collectives that other rooms use.
///
/// Every collective is called by all ranks in the same order. `what` names the operation in the message that a missed deadline ends with.
/// Throws PeerError when a peer has died or the deadline has passed.
class World {
 public:
  /// Starts MPI on a thread of its own (also without mpirun: one rank), the store (rank 0 serves it, its address travels over MPI) and the process
  /// group (NCCL if every rank has a GPU of its own, else MPI). Only one World a process. Sets the compute threads of this rank: config.threads, else
  /// OMP_NUM_THREADS, else the cores it may use divided by the ranks of this host that may use the same. SYNCDR_STORE_HOST names the address at which
  /// other hosts reach rank 0's, where its host name does not lead there. Throws UsageError if device is "cuda" and ranks lack GPUs of their own.
  explicit World(const CommConfig& config);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const;
  int size() const;
  int local_rank() const;  ///< among the ranks of this host
  int local_size() const;
  bool is_root() const { return rank() == 0; }
  const std::vector<std::string>& hosts() const;  ///< of each rank
  const std::string& host() const { return hosts()[static_cast<size_t>(rank())]; }
  c10::Device device() const;
  /// As many threads as asked for, or where that is 0 as many as this rank's share of the cores that it may use. OMP_NUM_THREADS is for computing alone.
  int64_t threads(int64_t asked) const;
  /// "nccl" or "mpi".
  std::string backend() const;

  void barrier(const char* what);
  /// Sums in place over ranks. float32, float64, float16, bfloat16, int32, int64, uint8 on this rank's device or the CPU. The result has the same
  /// bits on every rank.
  void all_reduce_sum(at::Tensor& tensor, const char* what);
  /// [n_r, ...] on each rank, n_r may differ -> [sum n_r, ...] in rank order, on every rank.
  at::Tensor all_gather_rows(const at::Tensor& rows, const char* what);
  void broadcast(at::Tensor& tensor, int root, const char* what);
  std::string broadcast(const std::string& text, int root, const char* what);
  std::vector<int64_t> broadcast(const std::vector<int64_t>& values, int root, const char* what);
  /// Each rank's text, in rank order, on every rank.
  std::vector<std::string> gather(const std::string& text, const char* what);
  /// The largest value over ranks.
  int64_t all_reduce_max(int64_t value, const char* what);
  /// Whether it is so on any rank.
  bool any(bool here, const char* what) { return all_reduce_max(here ? 1 : 0, what) > 0; }
  /// Adds to a counter that all ranks share and returns the sum; not a collective. A counter begins at 0. If rank 0, which keeps it, does not answer
  /// before the deadline, the job ends with a message (nothing could interrupt the call).
  int64_t add(const std::string& key, int64_t value, const char* what);

  /// Runs work on rank 0 alone while the others wait; an Error thrown there is thrown on every rank. For manifests, reports, folders.
  void root_only(const char* what, const std::function<void()>& work);

  /// Runs work on every rank and lets all ranks end alike: if it throws on any, each throws a core::Error with the code and message of the rank whose
  /// code is the smallest (the most to blame; the first such rank). Work itself should take less than a deadline.
  void together(const char* what, const std::function<void()>& work);

  /// c10d's own object, for the reducer.
  c10::intrusive_ptr<c10d::ProcessGroup> group() const;

  /// The job's orderly end: ranks agree on the largest code, MPI is finalized. Returns that code. Call it once, last.
  core::ExitCode finish(core::ExitCode code);
  /// This rank cannot go on: tells the peers through the store, then ends the whole job with this code. The first rank to fail prints the message.
  [[noreturn]] void fail(core::ExitCode code, const std::string& message);

 private:
  void connect();

  struct State;
  std::unique_ptr<State> state_;
};

/// A rank's whole job: makes the World, calls body, and ends in order with the code that it returns. If it throws StopRequested, on which ranks must have
/// agreed, rank 0 says so and the job ends in order as well; anything else that it throws ends the job through World::fail. Returns the code on which
/// all ranks agreed.
int run_job(const CommConfig& config, const std::function<core::ExitCode(World&)>& body);

/// The MPI library's own first line, without what stands behind a comma: "Open MPI v4.1.4".
std::string mpi_version();
/// Whether this build holds c10d's NCCL backend.
bool has_nccl();

}  // namespace syncdr::comm
