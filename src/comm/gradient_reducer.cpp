#include "syncdr/comm/gradient_reducer.h"

#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "mpi_thread.h"

namespace syncdr::comm {
namespace {

constexpr auto first_bucket_bytes = GradientReducer::first_bucket_bytes, bucket_bytes = GradientReducer::bucket_bytes;

std::shared_ptr<c10d::Reducer> make_reducer(World& world, std::vector<at::Tensor> parameters) {
  const std::vector<bool> dense(parameters.size(), false);
  auto buckets =
      std::get<0>(c10d::compute_bucket_assignment_by_size(parameters, {static_cast<size_t>(first_bucket_bytes), static_cast<size_t>(bucket_bytes)}, dense));
  // Gradients come roughly in the reverse order of the parameters. After the first step the reducer replaces this guess by the order it saw.
  std::reverse(buckets.begin(), buckets.end());
  // Gradients as views of the buckets would save their copy, but the C++ Optimizer::zero_grad detaches gradients, which views do not allow.
  return std::make_shared<c10d::Reducer>(std::move(parameters), std::move(buckets), world.group(), dense, bucket_bytes,
                                         /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/false,
                                         /*param_names=*/std::unordered_map<size_t, std::string>{}, first_bucket_bytes,
                                         /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
                                         /*bucket_bytes_cap_list=*/std::vector<int64_t>{});
}

}  // namespace

GradientReducer::GradientReducer(World& world, std::vector<at::Tensor> parameters) {
  if (world.size() == 1) return;
  std::erase_if(parameters, [](const at::Tensor& parameter) { return !parameter.requires_grad(); });
  SYNCDR_ASSERT(!parameters.empty(), "no parameter needs a gradient");
  for (const auto& parameter : parameters)
    if (parameter.is_cuda() && world.backend() != "nccl")
      throw core::UsageError("gradients on several GPUs need a LibTorch with NCCL; this build has none. Use device = \"cpu\"");
  const Naming naming("comparing the parameters of the ranks");
  // A clear error here is better than peers that wait for buckets of other sizes.
  c10d::verify_params_across_processes(world.group(), parameters, std::nullopt);
  reducer_ = make_reducer(world, std::move(parameters));
}

void GradientReducer::before_forward() {
  if (!reducer_) return;
  const Naming naming("agreeing on gradient buckets");
  reducer_->rebuild_buckets();
  reducer_->prepare_for_forward();
}

void GradientReducer::before_backward() {
  if (reducer_) reducer_->prepare_for_backward({});
}

}  // namespace syncdr::comm
