// Compiled without the precompiled header: c10d's NCCL headers want USE_C10D_NCCL defined before any of its others is read.
#include "nccl_backend.h"

#include "syncdr/comm/world.h"

#ifdef SYNCDR_HAS_CUDA

#include <ATen/cuda/CUDAContext.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

namespace syncdr::comm {
namespace {

using WorkPointer = c10::intrusive_ptr<c10d::Work>;
using Nccl = c10d::ProcessGroupNCCL;

// State of proof: compiles, links and starts without a GPU; nobody has run it on several GPUs yet.

/// ProcessGroupNCCL whose operations the MPI thread watches. Waiting for one only orders CUDA streams, so a lost peer shows as a host thread stuck in
/// some later synchronisation; only another thread can end the job then, with the rank's name and the exit code of a lost peer.
/// The flat forms have the names of c10d 2.11, by which World calls them; 2.15 forwards these to its new ones (all_gather_single).
class WatchedNccl : public Nccl {
 public:
  WatchedNccl(MpiThread& thread, const c10::intrusive_ptr<c10d::Store>& store, c10::intrusive_ptr<Options> options)
      : Nccl(store, thread.layout().rank, thread.layout().size, std::move(options)), thread_(thread) {}

  WorkPointer broadcast(std::vector<at::Tensor>& tensors, const c10d::BroadcastOptions& options) override {
    return watched("broadcast", Nccl::broadcast(tensors, options));
  }
  WorkPointer allreduce(std::vector<at::Tensor>& tensors, const c10d::AllreduceOptions& options) override {
    return watched("averaging gradients", Nccl::allreduce(tensors, options));
  }
  WorkPointer allgather(std::vector<std::vector<at::Tensor>>& outputs, std::vector<at::Tensor>& inputs, const c10d::AllgatherOptions& options) override {
    return watched("all-gather", Nccl::allgather(outputs, inputs, options));
  }
  WorkPointer _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) override {
    return watched("all-gather", Nccl::_allgather_base(output, input, options));
  }

 private:
  WorkPointer watched(const char* kind, WorkPointer work) {
    if (work) thread_.watch("nccl", Naming::current(kind), [work] { return work->isCompleted(); });
    return work;
  }

  MpiThread& thread_;
};

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(MpiThread& thread, const c10::intrusive_ptr<c10d::Store>& store, int device, Milliseconds deadline) {
  auto options = Nccl::Options::create();
  // NCCL's own watchdog ends the process with a signal and names nobody: it only stands behind ours.
  options->timeout = deadline + std::chrono::minutes(1);
  auto backend = c10::make_intrusive<WatchedNccl>(thread, c10::make_intrusive<c10d::PrefixStore>("nccl", store), options);
  backend->setBoundDeviceId(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
  return backend;
}

std::string gpu_identity(int device) {
  const auto& uuid = at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(device))->uuid;
  return std::string(uuid.bytes, sizeof(uuid.bytes));
}

bool has_nccl() { return true; }

}  // namespace syncdr::comm

#else

namespace syncdr::comm {

c10::intrusive_ptr<c10d::Backend> make_nccl_backend(MpiThread&, const c10::intrusive_ptr<c10d::Store>&, int, Milliseconds) { return {}; }
std::string gpu_identity(int) { return {}; }
bool has_nccl() { return false; }

}  // namespace syncdr::comm

#endif
