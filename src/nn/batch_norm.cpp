#include "syncdr/nn/batch_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/batch_norm_backward_elemt.h>
#include <ATen/ops/batch_norm_update_stats.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "syncdr/core/error.h"

namespace syncdr::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double momentum = 0.1;

// What the backward pass needs besides tensors; an autograd context holds it as a capsule.
struct GlobalPlan : torch::CustomClassHolder {
  SumOverRanks sum_over_ranks;
  at::Tensor running_mean, running_var;  // [C]
  double epsilon;
};
using Plan = c10::intrusive_ptr<GlobalPlan>;

/// Mean [C] and biased variance [C] of the global batch, and the number of its values a channel [1], all on the input's device.
struct Statistics {
  at::Tensor mean, variance, count;
};

int64_t values_a_channel(const at::Tensor& input) { return input.numel() / input.size(1); }

at::Tensor as_channels(const at::Tensor& vector, const at::Tensor& like) {
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[1] = vector.numel();
  return vector.view(shape);
}

// Each rank's mean and variance, combined as in Chan, Golub and LeVeque (1979). One message: [n, n m, n (v + m^2)] in double, where the
// cancellation in E[x^2] - m^2 loses nothing that float statistics would show.
Statistics global_statistics(const at::Tensor& input, const GlobalPlan& plan) {
  const int64_t channels = input.size(1), count = values_a_channel(input);
  at::Tensor message = at::zeros({2 * channels + 1}, input.options().dtype(at::kDouble));
  if (count > 0) {
    // The operator also moves running averages; it gets scratch ones, since ours follow the global batch.
    at::Tensor scratch_mean = at::zeros_like(plan.running_mean), scratch_var = at::zeros_like(plan.running_var);
    auto [mean, variance] = at::batch_norm_update_stats(input, scratch_mean, scratch_var, 0.0);
    mean = mean.to(at::kDouble);
    message[0].fill_(count);
    message.slice(0, 1, channels + 1).copy_(mean * count);
    message.slice(0, channels + 1).copy_((variance.to(at::kDouble) + mean * mean) * count);
  }
  plan.sum_over_ranks(message);
  const at::Tensor total = message.slice(0, 0, 1);
  const at::Tensor mean = message.slice(0, 1, channels + 1) / total;
  const at::Tensor variance = (message.slice(0, channels + 1) / total - mean * mean).clamp_min(0);
  return {mean, variance, total};
}

void update_running(GlobalPlan& plan, const Statistics& all) {
  const at::Tensor unbiased = all.variance * (all.count / (all.count - 1).clamp_min(1));
  plan.running_mean.mul_(1 - momentum).add_(all.mean.to(plan.running_mean.scalar_type()), momentum);
  plan.running_var.mul_(1 - momentum).add_(unbiased.to(plan.running_var.scalar_type()), momentum);
}

/// dx = w s (dy - sum(dy) / N - xhat sum(dy xhat) / N), where s = 1 / sqrt(variance + epsilon), xhat = (x - mean) s; sums over the global batch.
at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& input, const at::Tensor& weight, const Statistics& all, const at::Tensor& sum_dy,
                          const at::Tensor& sum_dy_xhat, double epsilon) {
  const at::Tensor scale = (all.variance + epsilon).rsqrt();
  const auto type = weight.scalar_type();
  if (input.is_cuda()) {  // one fused kernel; it takes sum(dy (x - mean)) = sum(dy xhat) / s
    return at::batch_norm_backward_elemt(dy, input, all.mean.to(type), scale.to(type), weight, sum_dy.to(type), (sum_dy_xhat / scale).to(type),
                                         all.count.to(at::kInt));
  }
  // dx = a dy + b x + c with a, b, c a channel each.
  const at::Tensor a = weight.to(at::kDouble) * scale;
  const at::Tensor b = -a * scale * sum_dy_xhat / all.count;
  const at::Tensor c = -a * sum_dy / all.count - b * all.mean;
  const auto channel = [&](const at::Tensor& value) { return as_channels(value.to(type), input); };
  return at::addcmul(channel(c), input, channel(b)).addcmul_(dy, channel(a)).to(input.scalar_type());
}

struct GlobalBatchNorm : torch::autograd::Function<GlobalBatchNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const Plan& plan) {
    const Statistics all = global_statistics(input, *plan);
    update_running(*plan, all);
    context->save_for_backward({input, weight, all.mean, all.variance, all.count});
    context->saved_data["plan"] = c10::IValue::make_capsule(plan);
    const auto type = plan->running_mean.scalar_type();
    // With fixed statistics the operator is one vectorised pass: x * scale + shift.
    return at::batch_norm(input, weight, bias, all.mean.to(type), all.variance.to(type), /*training=*/false, 0.0, plan->epsilon, true);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1];
    const Statistics all{saved[2], saved[3], saved[4]};
    const auto capsule = context->saved_data["plan"].toCapsule();
    const auto& plan = static_cast<const GlobalPlan&>(*capsule);
    const at::Tensor dy = gradients[0].contiguous(input.suggest_memory_format());

    const int64_t channels = input.size(1);
    const auto type = weight.scalar_type();
    at::Tensor sums = at::zeros({2, channels}, input.options().dtype(at::kDouble));  // dy; dy xhat
    at::Tensor weight_gradient = at::zeros_like(weight), bias_gradient = at::zeros_like(weight);
    if (input.numel() > 0) {
      // The gradients of weight and bias under fixed statistics are these two sums, in one pass.
      std::tie(std::ignore, weight_gradient, bias_gradient) = at::native_batch_norm_backward(dy, input, weight, all.mean.to(type), all.variance.to(type), {},
                                                                                             {}, /*train=*/false, plan.epsilon, {false, true, true});
      sums[0].copy_(bias_gradient);
      sums[1].copy_(weight_gradient);
    }
    plan.sum_over_ranks(sums);
    at::Tensor dx = input.numel() > 0 ? input_gradient(dy, input, weight, all, sums[0], sums[1], plan.epsilon) : at::zeros_like(input);
    return {dx, weight_gradient, bias_gradient, {}};
  }
};

}  // namespace

BatchNormMode batch_norm_mode_from_name(const std::string& name) {
  if (name == "global") return BatchNormMode::global;
  if (name == "local") return BatchNormMode::local;
  if (name == "frozen") return BatchNormMode::frozen;
  throw core::UsageError("batch norm mode \"{}\": use global, local or frozen", name);
}

BatchNormImpl::BatchNormImpl(int64_t channels, bool affine, double epsilon) : epsilon_(epsilon) {
  if (affine) {
    weight = register_parameter("weight", at::ones({channels}));
    bias = register_parameter("bias", at::zeros({channels}));
  }
  running_mean = register_buffer("running_mean", at::zeros({channels}));
  running_var = register_buffer("running_var", at::ones({channels}));
  num_batches_tracked = register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
}

at::Tensor BatchNormImpl::forward(const at::Tensor& input) {
  SYNCDR_ASSERT(input.dim() >= 2 && input.size(1) == running_mean.size(0), "batch norm of {} channels over input of shape [{}]", running_mean.size(0),
                fmt::join(input.sizes(), ", "));
  const bool batch_statistics = takes_batch_statistics();
  if (batch_statistics) num_batches_tracked.add_(1);
  if (batch_statistics && mode == BatchNormMode::global && sum_over_ranks) return forward_global(input);
  if (batch_statistics && values_a_channel(input) < 2) {
    throw core::UsageError("batch normalisation while training needs at least two values a channel, the batch has shape [{}]. Use a larger batch.",
                           fmt::join(input.sizes(), ", "));
  }
  return at::batch_norm(input, weight, bias, running_mean, running_var, batch_statistics, momentum, epsilon_, /*cudnn_enabled=*/true);
}

at::Tensor BatchNormImpl::after(const torch::nn::Conv2d& convolution, const at::Tensor& input) {
  return after(convolution, input, *std::get<torch::ExpandingArray<2>>(convolution->options.padding()));
}

at::Tensor BatchNormImpl::after(const torch::nn::Conv2d& convolution, const at::Tensor& input, at::IntArrayRef padding) {
  const auto& options = convolution->options;
  const auto convolved = [&](const at::Tensor& filter, const std::optional<at::Tensor>& shift) {
    return at::conv2d(input, filter, shift, *options.stride(), padding, *options.dilation(), options.groups());
  };
  if (takes_batch_statistics() || at::GradMode::is_enabled()) return forward(convolved(convolution->weight, {}));
  const at::Tensor scale = weight * (running_var + epsilon_).rsqrt();
  return convolved(convolution->weight * scale.view({-1, 1, 1, 1}), bias - running_mean * scale);
}

at::Tensor BatchNormImpl::forward_global(const at::Tensor& input) {
  const Plan plan = c10::make_intrusive<GlobalPlan>();
  plan->sum_over_ranks = sum_over_ranks;
  plan->running_mean = running_mean;
  plan->running_var = running_var;
  plan->epsilon = epsilon_;
  const bool affine = weight.defined();
  return GlobalBatchNorm::apply(input, affine ? weight : at::ones_like(running_mean), affine ? bias : at::zeros_like(running_mean), plan);
}

void set_batch_norm_mode(torch::nn::Module& module, BatchNormMode mode, const SumOverRanks& sum_over_ranks) {
  module.apply([&](torch::nn::Module& part) {
    auto* norm = part.as<BatchNormImpl>();
    if (norm == nullptr) return;
    norm->mode = mode;
    norm->sum_over_ranks = sum_over_ranks;
  });
}

int64_t batch_norms_over_ranks(const torch::nn::Module& module) {
  int64_t count = 0;
  module.apply([&](const torch::nn::Module& part) {
    const auto* norm = part.as<BatchNormImpl>();
    count += norm != nullptr && norm->is_training() && norm->mode == BatchNormMode::global ? 1 : 0;
  });
  return count;
}

}  // namespace syncdr::nn
