#include "step_graph.h"

#ifdef SYNCDR_HAS_CUDA

#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>

namespace syncdr::diffusion {
namespace {

/// Calls before recording: cuBLAS, cuDNN and the allocator set themselves up in the first ones.
constexpr int warm_ups = 3;
/// Each recording keeps the memory of one call. Batches are padded to one size, so more than a few mean that sizes differ anyway.
constexpr size_t max_recordings = 8;

std::vector<at::Tensor> places_for(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> places;
  for (const at::Tensor& tensor : tensors) places.push_back(at::empty_like(tensor).copy_(tensor));
  return places;
}

void append_shapes(std::vector<int64_t>& key, const std::vector<at::Tensor>& tensors) {
  key.push_back(static_cast<int64_t>(tensors.size()));
  for (const at::Tensor& tensor : tensors) {
    key.push_back(static_cast<int64_t>(tensor.scalar_type()));
    key.push_back(tensor.dim());
    key.insert(key.end(), tensor.sizes().begin(), tensor.sizes().end());
  }
}

}  // namespace

struct StepGraph::Recording {
  Recording(const std::vector<at::Tensor>& changing_tensors, const std::vector<at::Tensor>& fixed_tensors, const Call& call)
      : changing(places_for(changing_tensors)), fixed(places_for(fixed_tensors)), sources(fixed_tensors) {
    const c10::Device device = changing.front().device();
    const c10::impl::VirtualGuardImpl guard(device.type());
    const c10::Stream current = guard.getStream(device);
    const c10::Stream side = guard.getStreamFromGlobalPool(device);  // nothing can be recorded on the default stream
    guard.synchronizeStream(current);
    {
      const c10::StreamGuard on_side(side);
      for (int i = 0; i < warm_ups; ++i) output = call(changing, fixed);
      guard.synchronizeStream(side);
      output = at::Tensor();
      // Other threads may decode, load and copy meanwhile: only this one is watched.
      graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
      output = call(changing, fixed);
      graph.capture_end();
    }
  }

  at::Tensor replay(const std::vector<at::Tensor>& changing_tensors, const std::vector<at::Tensor>& fixed_tensors) {
    for (size_t i = 0; i < changing.size(); ++i) changing[i].copy_(changing_tensors[i]);
    for (size_t i = 0; i < fixed.size(); ++i) {
      if (fixed_tensors[i].is_same(sources[i])) continue;
      fixed[i].copy_(fixed_tensors[i]);
      sources[i] = fixed_tensors[i];  // kept alive: another tensor cannot come to its address
    }
    graph.replay();
    return output.clone();
  }

  std::vector<at::Tensor> changing, fixed, sources;
  at::cuda::CUDAGraph graph;  // after what it reads and before what it wrote, which lies in its memory pool
  at::Tensor output;
};

#else

namespace syncdr::diffusion {

struct StepGraph::Recording {};

#endif

StepGraph::StepGraph() = default;
StepGraph::~StepGraph() = default;

at::Tensor StepGraph::operator()(const std::vector<at::Tensor>& changing, const std::vector<at::Tensor>& fixed, const Call& call) {
#ifdef SYNCDR_HAS_CUDA
  if (changing.front().is_cuda()) {
    const c10::DeviceGuard on_device(changing.front().device());
    Key key;
    append_shapes(key, changing);
    append_shapes(key, fixed);
    auto found = recordings_.find(key);
    if (found == recordings_.end()) {
      if (recordings_.size() >= max_recordings) recordings_.clear();
      found = recordings_.emplace(std::move(key), std::make_unique<Recording>(changing, fixed, call)).first;
    }
    return found->second->replay(changing, fixed);
  }
#endif
  return call(changing, fixed);
}

}  // namespace syncdr::diffusion
