#include "trained_layers.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

using Layers = std::vector<std::vector<std::string>>;

/// The parts of "layer3+layer4".
std::set<std::string> parts_of(const std::string& text) {
  std::set<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('+', begin), text.size());
    parts.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Which layer a parameter of the backbone belongs to.
size_t layer_of(const std::string& parameter, const Layers& layers) {
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (const std::string& prefix : layers[layer])
      if (parameter.starts_with(prefix)) return layer;
  }
  SYNCDR_ASSERT(false, "\"{}\" is in none of the backbone's layers", parameter);
}

/// For each layer whether it is trained.
std::vector<bool> trained_layers(const Layers& layers, const EncoderConfig& config) {
  std::vector<bool> trained(layers.size(), config.train == "all");
  if (config.train == "all" || config.train == "head") return trained;
  std::vector<std::string> names;
  for (const auto& prefixes : layers) names.push_back(prefixes.front().substr(0, prefixes.front().find_last_not_of('.') + 1));
  for (const std::string& part : parts_of(config.train)) {
    if (part == "head") continue;
    const auto found = std::find(names.begin(), names.end(), part);
    if (found == names.end())
      throw core::UsageError("train.encoder.train = \"{}\": \"{}\" is no layer of {}. Use all, head, or some of {}", config.train, part, config.name,
                             fmt::join(names, ", "));
    trained[static_cast<size_t>(found - names.begin())] = true;
  }
  return trained;
}

}  // namespace

std::vector<training::ParameterGroup> trained_groups(EncoderImpl& encoder, const EncoderConfig& config) {
  const Layers layers = encoder.backbone().layers();
  const std::vector<bool> trained = trained_layers(layers, config);
  std::vector<training::ParameterGroup> groups(layers.size() + 1);  // the last: the head
  for (size_t layer = 0; layer < layers.size(); ++layer) groups[layer].rate = std::pow(config.layer_decay, static_cast<double>(layers.size() - layer));
  for (auto& item : encoder.named_parameters()) {
    const std::string backbone = "backbone.";
    const bool in_backbone = item.key().starts_with(backbone);
    const size_t group = in_backbone ? layer_of(item.key().substr(backbone.size()), layers) : layers.size();
    const bool wanted = !in_backbone || trained[group];
    item.value().set_requires_grad(wanted);
    if (wanted) groups[config.layer_decay == 1 ? layers.size() : group].parameters.push_back(item.value());
  }
  std::erase_if(groups, [](const training::ParameterGroup& group) { return group.parameters.empty(); });
  return groups;
}

void check_layers(const EncoderConfig& config) {
  const encoders::BackboneRow* row = encoders::find_backbone(config.name);
  trained_layers(row->make(*row, config.size > 0 ? config.size : row->size)->layers(), config);
}

void train_mode(EncoderImpl& encoder) {
  encoder.train();
  for (const auto& module : encoder.modules()) {
    const auto own = module->parameters(/*recurse=*/false);
    if (!own.empty() && std::none_of(own.begin(), own.end(), [](const at::Tensor& parameter) { return parameter.requires_grad(); })) module->eval();
  }
}

}  // namespace syncdr::retrieval
