#include "syncdr/diffusion/sampling.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <torch/utils.h>

#include <algorithm>

#include "step_graph.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/unet.h"

namespace syncdr::diffusion {
namespace {

std::string sizes_of(const at::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

/// One text for all as a text for each of `batch` samples, without a copy.
TextContext repeated(const TextContext& text, int64_t batch) {
  if (text.text.size(0) == batch) return text;
  TextContext all(text.text.expand({batch, -1, -1}));
  for (const KeyValue& one : text.prepared) all.prepared.push_back({one.key.expand({batch, -1, -1, -1}), one.value.expand({batch, -1, -1, -1})});
  return all;
}

std::vector<at::Tensor> tensors_of(const TextContext& text) {
  std::vector<at::Tensor> all{text.text};
  for (const KeyValue& one : text.prepared) all.insert(all.end(), {one.key, one.value});
  return all;
}

TextContext text_from(const std::vector<at::Tensor>& tensors) {
  TextContext text(tensors[0]);
  for (size_t i = 1; i < tensors.size(); i += 2) text.prepared.push_back({tensors[i], tensors[i + 1]});
  return text;
}

/// All branches' predictions by one call of the network, which sees the samples once where branches differ by their texts alone. What does not change from
/// step to step is prepared once: the texts, the images behind the samples, and the input itself, in the network's dtype and layout.
class GuidedCall {
 public:
  GuidedCall(UNet& unet, std::span<const Branch> branches, const at::Tensor& sample, StepGraph* graph)
      : unet_(unet), graph_(graph), count_(int64_t(branches.size())), text_(text_of(branches, sample.size(0))) {
    for (const Branch& branch : branches) weights_.push_back(branch.weight);
    if (branches[0].told) guidance_ = guidance_embedding(*branches[0].told, unet->config().guidance_width).to(sample.device());
    const int64_t batch = sample.size(0), channels = sample.size(1);
    const bool images = std::any_of(branches.begin(), branches.end(), [](const Branch& branch) { return branch.image.defined(); });
    const int64_t rounds = images ? count_ : 1;  // of the samples in the input
    const at::Tensor parameter = unet->parameters().front();
    input_ = at::empty({rounds * batch, unet->config().in_channels, sample.size(2), sample.size(3)},
                       parameter.options().requires_grad(false).memory_format(at::MemoryFormat::ChannelsLast));
    const at::Tensor by_round = input_.unflatten(0, {rounds, batch});
    samples_ = by_round.narrow(2, 0, channels);
    for (int64_t i = 0; images && i < count_; ++i) {
      const at::Tensor& image = branches[size_t(i)].image;
      if (image.defined()) by_round[i].narrow(1, channels, image.size(1)).copy_(image);
    }
  }

  /// sample [B, C, h, w] as the network is to see it, time [1] -> the sum of weight * e_branch, [B, C, h, w] float32.
  at::Tensor operator()(const at::Tensor& sample, const at::Tensor& time) {
    samples_.copy_(sample.unsqueeze(0));  // into every round: repeats, casts and changes the layout
    const std::vector<at::Tensor> parts = call_network(time).chunk(count_);
    if (count_ == 1 && weights_[0] == 1) return parts[0].to(at::kFloat);
    at::Tensor sum = parts[0].to(at::kFloat) * weights_[0];
    for (size_t i = 1; i < parts.size(); ++i) sum.add_(parts[i], weights_[i]);
    return sum;
  }

 private:
  at::Tensor call_network(const at::Tensor& time) {
    if (!graph_) return unet_->forward(input_, time, text_, guidance_);
    std::vector<at::Tensor> inputs{input_, time};
    if (guidance_.defined()) inputs.push_back(guidance_);
    return (*graph_)(inputs, tensors_of(text_), [this](const std::vector<at::Tensor>& changing, const std::vector<at::Tensor>& fixed) {
      return unet_->forward(changing[0], changing[1], text_from(fixed), changing.size() > 2 ? changing[2] : at::Tensor());
    });
  }

  static TextContext text_of(std::span<const Branch> branches, int64_t batch) {
    if (branches.size() == 1) return branches[0].text;  // the network takes one text for all
    std::vector<TextContext> texts;
    for (const Branch& branch : branches) texts.push_back(repeated(branch.text, batch));
    return join(texts);
  }

  UNet& unet_;
  StepGraph* graph_;
  int64_t count_;
  std::vector<double> weights_;
  TextContext text_;
  at::Tensor guidance_;  // embedded; undefined: the network is told of none
  at::Tensor input_;     // [rounds * B, in_channels, h, w]
  at::Tensor samples_;   // [rounds, B, C, h, w], the part of it that changes
};

/// One branch's shapes: text of 1 or B samples, image latents that fill the network's channels behind the sample's.
void check_branch(const Branch& branch, const UNetConfig& config, const at::Tensor& sample) {
  const int64_t batch = sample.size(0), behind = config.in_channels - sample.size(1);
  const at::Tensor &text = branch.text.text, &image = branch.image;
  if (text.dim() != 3 || (text.size(0) != 1 && text.size(0) != batch))
    throw core::UsageError("guidance: a text [B, L, D] with B = 1 or {} is needed, got {}", batch, sizes_of(text));
  if (behind == 0 && !image.defined()) return;
  const std::vector<int64_t> expected{batch, behind, sample.size(2), sample.size(3)};
  if (behind > 0 && image.defined() && image.sizes() == expected) return;
  throw core::UsageError("guidance: the network takes {} channels, {} of them of image latents behind the sample {}; the branch has {}. {}", config.in_channels,
                         behind, sizes_of(sample), image.defined() ? sizes_of(image) : "no image latents",
                         behind > 0 ? "Take instruct_guidance with latents of the sample's size" : "Take text_guidance");
}

std::vector<Branch> checked(std::span<const Branch> branches, const UNetConfig& config, const at::Tensor& sample) {
  if (sample.dim() != 4 || sample.scalar_type() != at::kFloat || sample.size(1) != config.out_channels)
    throw core::UsageError("sampling needs float32 samples [B, {}, h, w], got {} {}", config.out_channels, c10::toString(sample.scalar_type()),
                           sizes_of(sample));
  std::vector<Branch> used;
  for (const Branch& branch : branches)
    if (branch.weight != 0) used.push_back(branch);
  if (used.empty()) throw core::UsageError("guidance without a branch of a weight other than 0 predicts nothing");
  for (const Branch& branch : used) check_branch(branch, config, sample);
  if (used[0].told && (used.size() > 1 || config.guidance_width == 0))
    throw core::UsageError("guidance: only a network distilled under guidance is told a scale, in one branch; here are {}", used.size());
  return used;
}

}  // namespace

std::vector<Branch> text_guidance(const TextContext& text, const TextContext& negative, double scale, bool distilled) {
  if (distilled) return {Branch{.text = text, .image = {}, .told = scale}};
  if (scale <= 1) return {Branch{text, {}, 1}};
  return {Branch{negative, {}, 1 - scale}, Branch{text, {}, scale}};
}

std::vector<Branch> instruct_guidance(const TextContext& text, const TextContext& negative, const at::Tensor& image, double scale, double image_scale) {
  const Branch all[] = {{text, image, scale}, {negative, image, image_scale - scale}, {negative, at::zeros_like(image), 1 - image_scale}};
  std::vector<Branch> used;
  std::copy_if(std::begin(all), std::end(all), std::back_inserter(used), [](const Branch& branch) { return branch.weight != 0; });
  return used;
}

TextContext join(std::span<const TextContext> texts) {
  if (texts.empty()) throw core::UsageError("join: no texts");
  std::vector<at::Tensor> hidden;
  for (const TextContext& context : texts) {
    hidden.push_back(context.text);
    if (context.text.dim() != 3 || context.text.sizes().slice(1) != texts[0].text.sizes().slice(1))
      throw core::UsageError("join: texts of one shape [B, L, D] but for B are needed, got {} and {}", sizes_of(texts[0].text), sizes_of(context.text));
  }
  TextContext joined(at::cat(hidden));
  const size_t attentions = texts[0].prepared.size();
  if (!std::all_of(texts.begin(), texts.end(), [&](const TextContext& context) { return context.prepared.size() == attentions; })) return joined;
  for (size_t place = 0; place < attentions; ++place) {
    std::vector<at::Tensor> keys, values;
    for (const TextContext& context : texts) {
      keys.push_back(context.prepared[place].key);
      values.push_back(context.prepared[place].value);
    }
    joined.prepared.push_back({at::cat(keys), at::cat(values)});
  }
  return joined;
}

at::Tensor denoise(UNet& unet, std::span<const Branch> branches, Scheduler& scheduler, at::Tensor sample, const Trajectory& trajectory) {
  const torch::NoGradGuard no_grad;
  const auto calls = int64_t(scheduler.timesteps().size());
  const int64_t first = trajectory.first, last = trajectory.last < 0 ? calls : trajectory.last;
  SYNCDR_ASSERT(calls > 0 && 0 <= first && first <= last && last <= calls, "calls {} to {} of {}", first, last, calls);
  SYNCDR_ASSERT(!scheduler.wants_noise() || trajectory.noise, "{} needs noise", scheduler.name());
  GuidedCall predict(unet, checked(branches, unet->config(), sample), sample, trajectory.graph);
  const at::Tensor times = at::tensor(scheduler.timesteps(), at::kFloat).to(sample.device());  // once: a copy of each would wait for the device
  scheduler.reset();
  for (int64_t i = first; i < last; ++i) {
    const at::Tensor output = predict(scheduler.scale_model_input(sample, i), times.narrow(0, i, 1));
    sample = scheduler.step(output, i, sample, scheduler.wants_noise() ? trajectory.noise(i) : at::Tensor());
  }
  return sample;
}

}  // namespace syncdr::diffusion
