#pragma once
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "mpi_thread.h"

/// c10d's NCCL process group, where this LibTorch has one. Private to comm.
namespace syncdr::comm {

/// Null if this build has no NCCL. Collectives are watched by the MPI thread: one that passes the deadline ends the job.
c10::intrusive_ptr<c10d::Backend> make_nccl_backend(MpiThread& thread, const c10::intrusive_ptr<c10d::Store>& store, int device, Milliseconds deadline);

/// What tells one GPU of this host from another, whatever CUDA_VISIBLE_DEVICES calls it. "" if this build has no CUDA.
std::string gpu_identity(int device);

}  // namespace syncdr::comm
