#include "syncdr/nn/batch_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/batch_norm_backward_elemt.h>
#include <ATen/ops/batch_norm_update_stats.h>
#include <ATen/ops/hardtanh.h>
#include <ATen/ops/native_batch_norm_backward.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "syncdr/core/error.h"
#include "syncdr/kernels/batch_norm.h"

namespace syncdr::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double momentum = 0.1;

// What the backward pass needs besides tensors; an autograd context holds it as a capsule.
struct NormPlan : torch::CustomClassHolder {
  SumOverRanks sum_over_ranks;           // of local statistics empty
  at::Tensor running_mean, running_var;  // [C]
  double epsilon = 0;
  kernels::Clamp clamp;

  void sum(at::Tensor& tensor) const {
    if (sum_over_ranks) sum_over_ranks(tensor);
  }
};
using Plan = c10::intrusive_ptr<NormPlan>;

const NormPlan& plan_of(AutogradContext* context) { return static_cast<const NormPlan&>(*context->saved_data["plan"].toCapsule()); }

/// Mean [C] and biased variance [C] of the global batch, and the number of its values a channel [1], float64 on the input's device.
struct Statistics {
  at::Tensor mean, variance, count;
  at::Tensor scale(double epsilon) const { return (variance + epsilon).rsqrt(); }
};

int64_t values_a_channel(const at::Tensor& input) { return input.numel() / input.size(1); }

at::Tensor as_channels(const at::Tensor& vector, const at::Tensor& like) {
  std::vector<int64_t> shape(static_cast<size_t>(like.dim()), 1);
  shape[1] = vector.numel();
  return vector.view(shape);
}

/// Mean and biased variance [2, C] of this rank's values.
at::Tensor moments_of(const at::Tensor& input, const NormPlan& plan) {
  // The operator also moves running averages; it gets scratch ones, since ours follow the global batch.
  at::Tensor scratch_mean = at::zeros_like(plan.running_mean), scratch_var = at::zeros_like(plan.running_var);
  const auto [mean, variance] = at::batch_norm_update_stats(input, scratch_mean, scratch_var, 0.0);
  return at::stack({mean, variance}).to(at::kDouble);
}

// Each rank's mean and variance, combined as in Chan, Golub and LeVeque (1979). One message: [n, n m, n (v + m^2)] in double, where the
// cancellation in E[x^2] - m^2 loses nothing that float statistics would show.
template <class Moments> Statistics global_statistics(const at::Tensor& input, const NormPlan& plan, const Moments& moments) {
  const int64_t channels = input.size(1), count = values_a_channel(input);
  at::Tensor message = at::zeros({2 * channels + 1}, input.options().dtype(at::kDouble));
  if (count > 0) {
    const at::Tensor own = moments();
    message[0].fill_(count);
    message.slice(0, 1, channels + 1).copy_(own[0] * count);
    message.slice(0, channels + 1).copy_((own[1] + own[0] * own[0]) * count);
  }
  plan.sum(message);
  const at::Tensor total = message.slice(0, 0, 1);
  const at::Tensor mean = message.slice(0, 1, channels + 1) / total;
  const at::Tensor variance = (message.slice(0, channels + 1) / total - mean * mean).clamp_min(0);
  return {mean, variance, total};
}

void update_running(const Statistics& all, NormPlan& plan) {
  const at::Tensor unbiased = all.variance * (all.count / (all.count - 1).clamp_min(1));
  plan.running_mean.mul_(1 - momentum).add_(all.mean.to(plan.running_mean.scalar_type()), momentum);
  plan.running_var.mul_(1 - momentum).add_(unbiased.to(plan.running_var.scalar_type()), momentum);
}

/// dx = w s (dy - sum(dy) / N - xhat sum(dy xhat) / N), where s = 1 / sqrt(variance + epsilon), xhat = (x - mean) s; sums over the global batch.
/// That is a dy + b x + c with a, b, c [C] of weight's type.
struct LinearGradient {
  at::Tensor a, b, c;
  LinearGradient(const at::Tensor& weight, const Statistics& all, const at::Tensor& sum_dy, const at::Tensor& sum_dy_xhat, double epsilon) {
    const at::Tensor scale = all.scale(epsilon), of_dy = weight.to(at::kDouble) * scale, of_x = -of_dy * scale * sum_dy_xhat / all.count;
    a = of_dy.to(weight.scalar_type());
    b = of_x.to(weight.scalar_type());
    c = (-of_dy * sum_dy / all.count - of_x * all.mean).to(weight.scalar_type());
  }
};

at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& input, const at::Tensor& weight, const Statistics& all, const at::Tensor& sum_dy,
                          const at::Tensor& sum_dy_xhat, double epsilon) {
  if (input.is_cuda()) {  // one fused kernel; it takes sum(dy (x - mean)) = sum(dy xhat) / s
    const at::Tensor scale = all.scale(epsilon);
    const auto type = weight.scalar_type();
    return at::batch_norm_backward_elemt(dy, input, all.mean.to(type), scale.to(type), weight, sum_dy.to(type), (sum_dy_xhat / scale).to(type),
                                         all.count.to(at::kInt));
  }
  const LinearGradient linear(weight, all, sum_dy, sum_dy_xhat, epsilon);
  const auto channel = [&](const at::Tensor& value) { return as_channels(value, input); };
  return at::addcmul(channel(linear.c), input, channel(linear.b)).addcmul_(dy, channel(linear.a)).to(input.scalar_type());
}

struct GlobalBatchNorm : torch::autograd::Function<GlobalBatchNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const Plan& plan) {
    const Statistics all = global_statistics(input, *plan, [&] { return moments_of(input, *plan); });
    update_running(all, *plan);
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
    const NormPlan& plan = plan_of(context);
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
    plan.sum(sums);
    at::Tensor dx = input.numel() > 0 ? input_gradient(dy, input, weight, all, sums[0], sums[1], plan.epsilon) : at::zeros_like(input);
    return {dx, weight_gradient, bias_gradient, {}};
  }
};

/// Local or global statistics, with what comes behind, by kernels/batch_norm.h.
struct FusedBatchNorm : torch::autograd::Function<FusedBatchNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            const std::optional<at::Tensor>& added, const Plan& plan) {
    const at::Tensor residual = added.value_or(at::Tensor());
    const Statistics all = global_statistics(input, *plan, [&] { return kernels::batch_moments(input); });
    update_running(all, *plan);
    const at::Tensor factors = weight * all.scale(plan->epsilon), shifts = (bias - all.mean * factors).to(at::kFloat), single = factors.to(at::kFloat);
    at::Tensor y = kernels::scale_and_clamp(input, single, shifts, residual, plan->clamp);
    context->save_for_backward({input, weight, all.mean, all.variance, all.count, single, shifts, residual.defined() ? y : at::Tensor()});
    context->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1];
    const Statistics all{saved[2], saved[3], saved[4]};
    const NormPlan& plan = plan_of(context);
    const bool residual = saved[7].defined();
    const kernels::NormalisedBatch batch{
        .x = input, .factors = saved[5], .shifts = saved[6], .mean = all.mean.to(at::kFloat), .y = saved[7], .residual = residual, .clamp = plan.clamp};
    const at::Tensor dy = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    kernels::GradientSums of_dy = kernels::gradient_sums(dy, batch);
    at::Tensor sums = of_dy.sums;  // dz; dz (x - mean)
    sums[1].mul_(all.scale(plan.epsilon));
    const at::Tensor own = sums.to(weight.scalar_type());
    plan.sum(sums);
    const LinearGradient linear(weight, all, sums[0], sums[1], plan.epsilon);
    const at::Tensor dx = kernels::input_gradient(residual ? of_dy.dz : dy, batch, linear.a, linear.b, linear.c);
    return {dx, own[1], own[0], of_dy.dz, {}};
  }
};

at::Tensor activated(at::Tensor x, Activation activation) {
  if (activation == Activation::none) return x;
  return activation == Activation::relu ? x.relu_() : at::hardtanh_(x, 0, 6);
}

kernels::Clamp clamp_of(Activation activation) {
  if (activation == Activation::none) return {};
  return activation == Activation::relu ? kernels::Clamp{.low = 0} : kernels::Clamp{.low = 0, .high = 6};
}

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

at::Tensor BatchNormImpl::forward(const at::Tensor& input) { return forward_with(input, Activation::none); }

at::Tensor BatchNormImpl::forward_with(const at::Tensor& input, Activation activation, const at::Tensor& residual) {
  SYNCDR_ASSERT(input.dim() >= 2 && input.size(1) == running_mean.size(0), "batch norm of {} channels over input of shape [{}]", running_mean.size(0),
                fmt::join(input.sizes(), ", "));
  const bool batch_statistics = is_training() && mode != BatchNormMode::frozen;
  const bool global = batch_statistics && mode == BatchNormMode::global && sum_over_ranks;
  if (batch_statistics) num_batches_tracked.add_(1);
  if (batch_statistics && !global && values_a_channel(input) < 2) {
    throw core::UsageError("batch normalisation while training needs at least two values a channel, the batch has shape [{}]. Use a larger batch.",
                           fmt::join(input.sizes(), ", "));
  }
  const bool float_parameters = running_mean.scalar_type() == at::kFloat;
  const bool same_layout = !residual.defined() || (residual.scalar_type() == input.scalar_type() && residual.is_contiguous(at::MemoryFormat::ChannelsLast));
  if (batch_statistics && float_parameters && same_layout && kernels::batch_norm_takes(input)) return forward_fused(input, activation, residual);
  const at::Tensor normalised =
      global ? forward_global(input) : at::batch_norm(input, weight, bias, running_mean, running_var, batch_statistics, momentum, epsilon_, true);
  return activated(residual.defined() ? normalised + residual : normalised, activation);
}

namespace {

Plan make_plan(const BatchNormImpl& norm, double epsilon) {
  const Plan plan = c10::make_intrusive<NormPlan>();
  plan->running_mean = norm.running_mean;
  plan->running_var = norm.running_var;
  plan->epsilon = epsilon;
  if (norm.mode == BatchNormMode::global) plan->sum_over_ranks = norm.sum_over_ranks;
  return plan;
}

}  // namespace

at::Tensor BatchNormImpl::forward_global(const at::Tensor& input) {
  const bool affine = weight.defined();
  return GlobalBatchNorm::apply(input, affine ? weight : at::ones_like(running_mean), affine ? bias : at::zeros_like(running_mean), make_plan(*this, epsilon_));
}

at::Tensor BatchNormImpl::forward_fused(const at::Tensor& input, Activation activation, const at::Tensor& residual) {
  const Plan plan = make_plan(*this, epsilon_);
  plan->clamp = clamp_of(activation);
  const bool affine = weight.defined();
  return FusedBatchNorm::apply(input, affine ? weight : at::ones_like(running_mean), affine ? bias : at::zeros_like(running_mean),
                               residual.defined() ? std::optional(residual) : std::nullopt, plan);
}

void set_batch_norm_mode(torch::nn::Module& module, BatchNormMode mode, const SumOverRanks& sum_over_ranks) {
  module.apply([&](torch::nn::Module& part) {
    auto* norm = part.as<BatchNormImpl>();
    if (norm == nullptr) return;
    norm->mode = mode;
    norm->sum_over_ranks = sum_over_ranks;
  });
}

}  // namespace syncdr::nn
