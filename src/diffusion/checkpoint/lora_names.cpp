#include "lora_names.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "original_names.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {
namespace {

struct Ending {
  std::string_view text;
  LoraPart part;
};
/// kohya and peft; diffusers before it used peft: UNet, attention processors, text encoder.
constexpr Ending endings[] = {{".lora_down", LoraPart::down},
                              {".lora_up", LoraPart::up},
                              {".lora_A", LoraPart::down},
                              {".lora_B", LoraPart::up},
                              {".lora.down", LoraPart::down},
                              {".lora.up", LoraPart::up},
                              {"_lora.down", LoraPart::down},
                              {"_lora.up", LoraPart::up},
                              {".lora_linear_layer.down", LoraPart::down},
                              {".lora_linear_layer.up", LoraPart::up}};

bool take_end(std::string& name, std::string_view end) {
  if (!name.ends_with(end)) return false;
  name.resize(name.size() - end.size());
  return true;
}

bool take_start(std::string& name, std::string_view start) {
  if (!name.starts_with(start)) return false;
  name.erase(0, start.size());
  return true;
}

/// As kohya writes names. Attention processors were levels of their own.
std::string underscored(std::string name) {
  constexpr std::string_view processor = ".processor.";
  if (const auto found = name.find(processor); found != std::string::npos) name.replace(found, processor.size(), ".");
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

/// Names of a text encoder's attention in files of diffusers before it used peft.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> older_text = {
    {{".q_proj", ".to_q"}, {".k_proj", ".to_k"}, {".v_proj", ".to_v"}, {".out_proj", ".to_out"}}};

}  // namespace

std::optional<LoraName> lora_name(const std::string& tensor) {
  std::string layer = tensor;
  if (take_end(layer, ".alpha")) return LoraName{layer, LoraPart::alpha};
  if (!take_end(layer, ".weight")) return std::nullopt;
  // peft writes the adapter's name behind A and B where it saves a whole model.
  std::string without_adapter = layer.substr(0, layer.rfind('.') == std::string::npos ? 0 : layer.rfind('.'));
  for (const Ending& ending : endings) {
    if (take_end(layer, ending.text)) return LoraName{layer, ending.part};
    const bool of_peft = ending.text == ".lora_A" || ending.text == ".lora_B";
    if (of_peft && take_end(without_adapter, ending.text)) return LoraName{without_adapter, ending.part};
  }
  return std::nullopt;
}

std::string lora_relative(const std::vector<std::string>& names) {
  constexpr std::pair<std::string_view, std::string_view> marks[] = {{"dora_scale", "a DoRA"},
                                                                     {"lora_magnitude_vector", "a DoRA"},
                                                                     {"hada_", "a LoHa"},
                                                                     {"lokr_", "a LoKr"},
                                                                     {"oft_", "an OFT"},
                                                                     {"ia3_", "an IA3"},
                                                                     {"on_input", "an IA3"},
                                                                     {"lora_mid", "a LoCon with a core tensor"},
                                                                     {"lora_te2_", "one for Stable Diffusion XL"},
                                                                     {"text_encoder_2.", "one for Stable Diffusion XL"}};
  for (const auto& [mark, what] : marks) {
    if (std::any_of(names.begin(), names.end(), [mark = mark](const auto& name) { return name.find(mark) != std::string::npos; })) return std::string(what);
  }
  return "";
}

LoraTargets::LoraTargets(const UNetConfig& unet, const TextEncoderConfig& text_encoder) {
  const auto each_layer = [](const torch::nn::Module& network, const auto& take) {
    for (const auto& [name, weight] : nn::state_of(network)) {
      std::string layer = name;
      if (take_end(layer, ".weight") && weight.dim() > 1 && !layer.ends_with("_embedding")) take(layer, weight.sizes().vec());
    }
  };
  each_layer(*UNet(unet), [&](const std::string& layer, const std::vector<int64_t>& shape) {
    const Target target{false, layer, shape};
    add(target, layer);
    std::string original = original_name(unet, layer + ".weight"), attention = layer;
    take_end(original, ".weight");
    add(target, original);
    if (attention.ends_with(".to_out.0") && take_end(attention, ".0")) add(target, attention);
  });
  each_layer(*TextEncoder(text_encoder), [&](const std::string& layer, const std::vector<int64_t>& shape) {
    const Target target{true, layer, shape};
    std::vector<std::string> names{layer};
    for (const auto& [now, before] : older_text) {
      std::string older = layer;
      if (take_end(older, now)) names.push_back(older + std::string(before));
    }
    for (std::string& name : names) {
      add(target, name);
      if (take_start(name, "text_model.")) add(target, name);
    }
  });
}

void LoraTargets::add(const Target& target, const std::string& name) { (target.of_text ? text_encoder_ : unet_).emplace(underscored(name), target); }

const LoraTargets::Target* LoraTargets::find(const std::string& layer) const {
  std::string name = layer;
  take_start(name, "base_model.model.");
  const bool of_unet = take_start(name, "unet.") || take_start(name, "lora_unet_");
  const bool of_text = !of_unet && (take_start(name, "text_encoder.") || take_start(name, "lora_te_") || take_start(name, "lora_te1_"));
  const std::string key = underscored(name);
  for (const auto* targets : {of_text ? nullptr : &unet_, of_unet ? nullptr : &text_encoder_}) {
    if (!targets) continue;
    if (const auto found = targets->find(key); found != targets->end()) return &found->second;
  }
  return nullptr;
}

}  // namespace syncdr::diffusion
