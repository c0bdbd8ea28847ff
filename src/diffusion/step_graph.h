#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace syncdr::diffusion {

/// A call of the network that all steps of a trajectory make alike, as a CUDA graph: recorded once, then replayed by one launch instead of hundreds.
///
/// State of proof: compiles, links and starts without a GPU, where it only passes the call on; nobody has run it on a GPU yet.
class StepGraph {
 public:
  /// What is recorded: reads both lists of tensors and parameters that stay in their place, waits for nothing, keeps nothing.
  using Call = std::function<at::Tensor(const std::vector<at::Tensor>& changing, const std::vector<at::Tensor>& fixed)>;

  StepGraph();
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  /// call(changing, fixed). The first time for these shapes and dtypes it is warmed up and recorded, later times replayed, whatever function is then given:
  /// one object is for one network. All tensors are on one device; on a CPU, or where LibTorch has no CUDA, call is called.
  /// changing  copied into the graph's inputs at each call
  /// fixed     copied when it is another tensor than the last time: not to be written to in between
  /// returns   a tensor of its own. For one thread at a time.
  at::Tensor operator()(const std::vector<at::Tensor>& changing, const std::vector<at::Tensor>& fixed, const Call& call);

 private:
  struct Recording;
  using Key = std::vector<int64_t>;

  std::map<Key, std::unique_ptr<Recording>> recordings_;
};

}  // namespace syncdr::diffusion
