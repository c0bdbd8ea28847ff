#include "syncdr/encoders/backbone.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "layouts.h"
#include "syncdr/core/philox.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/weights.h"

namespace syncdr::encoders {
namespace {

void fill_normal(const at::Tensor& tensor, double deviation, core::Random random) {
  random.fill_normal({tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())});
  tensor.mul_(deviation);
}

/// Of He's distribution by fan-out, in a weight [out, in / groups, h, w]; depthwise convolutions have as many groups as outputs.
double he_deviation(const at::Tensor& weight) {
  const int64_t outputs = weight.size(1) == 1 ? 1 : weight.size(0);
  return std::sqrt(2.0 / static_cast<double>(outputs * weight.size(2) * weight.size(3)));
}

/// Takes each prefix off the front of name, as often as one is there. Whether there was any.
template <size_t n> bool strip(std::string& name, const std::array<std::string_view, n>& prefixes) {
  bool any = false;
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : prefixes) {
      if (!name.starts_with(prefix)) continue;
      name.erase(0, prefix.size());
      any = again = true;
    }
  }
  return any;
}

/// Of DistributedDataParallel, trainers, detectors, and transformers' classifiers.
constexpr std::array<std::string_view, 4> wrappers = {"module.", "model.", "backbone.", "resnet."};
/// Of the image side of open_clip's models (trunk: a network of timm's inside) and of transformers'.
constexpr std::array<std::string_view, 3> towers = {"visual.", "vision_model.", "trunk."};

bool of_text_side(const std::string& name) {
  constexpr std::array<std::string_view, 6> prefixes = {"transformer.", "token_embedding.", "ln_final.", "text.", "text_model.", "text_projection."};
  constexpr std::array<std::string_view, 7> names = {"positional_embedding", "text_projection", "logit_scale", "logit_bias",
                                                     "input_resolution",     "context_length",  "vocab_size"};
  return std::any_of(prefixes.begin(), prefixes.end(), [&](std::string_view prefix) { return name.starts_with(prefix); }) ||
         std::find(names.begin(), names.end(), name) != names.end();
}

/// Without wrappers' prefixes and, where there is an image side, without the text side.
io::NamedTensors unwrapped(const io::NamedTensors& file, const std::string& where) {
  const auto split = [](std::string name) {
    strip(name, wrappers);
    const bool image_side = strip(name, towers);
    return std::pair{name, image_side};
  };
  const bool two_sides = std::any_of(file.begin(), file.end(), [&](const auto& entry) { return split(entry.first).second; });
  return renamed(
      file,
      [&](const std::string& full) {
        const auto [name, image_side] = split(full);
        return two_sides && !image_side && of_text_side(name) ? "" : name;
      },
      where);
}

}  // namespace

void initialise(Backbone& backbone, const std::string& prefix, uint64_t seed) {
  const at::NoGradGuard no_gradient;
  for (const auto& item : backbone.named_parameters()) {
    const at::Tensor& tensor = item.value();
    const core::Random random(seed, core::Purpose::weights, io::hash64(prefix + item.key()));
    if (tensor.dim() > 1) {
      fill_normal(tensor, tensor.dim() == 4 ? he_deviation(tensor) : 0.02, random);
    } else if (item.key().ends_with("bias")) {
      tensor.zero_();
    }
  }
}

void load_backbone(Backbone& backbone, io::NamedTensors file, const std::string& where) {
  io::NamedTensors tensors = backbone.own_names(unwrapped(file, where), where);
  for (const auto& item : backbone.named_buffers()) {
    if (item.key().ends_with(".num_batches_tracked")) tensors.emplace(item.key(), item.value());
  }
  nn::load_state(backbone, tensors, where);
}

}  // namespace syncdr::encoders
