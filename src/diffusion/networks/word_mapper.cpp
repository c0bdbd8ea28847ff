#include "syncdr/diffusion/word_mapper.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/leaky_relu.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "layers.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {

/// Linear-LayerNorm-LeakyReLU twice, then Linear. [..., in] -> [..., out]
class MappingNetwork : public torch::nn::Module {
 public:
  MappingNetwork(int64_t in, int64_t hidden, int64_t out)
      : first_(register_module("0", Dense(in, hidden))), second_(register_module("3", Dense(hidden, hidden))), last_(register_module("6", Dense(hidden, out))),
        norm1_(register_module("1", layer_norm(hidden, 1e-5))), norm2_(register_module("4", layer_norm(hidden, 1e-5))) {}

  at::Tensor forward(const at::Tensor& x) {
    const at::Tensor inner = at::leaky_relu(norm1_->forward(first_->forward(x)));
    return last_->forward(at::leaky_relu(norm2_->forward(second_->forward(inner))));
  }

 private:
  Dense first_, second_, last_;
  torch::nn::LayerNorm norm1_, norm2_;
};

namespace {

constexpr const char* states_key = "syncdr.states";

/// "down_blocks.0.attentions.0.transformer_blocks.0.attn2" as the published file writes it.
std::string with_underscores(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

std::vector<int64_t> states_in(const io::Safetensors& file, const std::string& where) {
  const auto text = file.metadata.find(states_key);
  if (text == file.metadata.end()) return WordMapperConfig().states;
  std::vector<int64_t> states;
  std::istringstream words(text->second);
  for (std::string word; words >> word;) {
    int64_t state = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), state);
    if (error != std::errc() || end != word.data() + word.size() || state < -1)
      throw core::DataError("{}: metadata \"{}\" holds \"{}\", not the number of a hidden state or -1", where, states_key, word);
    states.push_back(state);
  }
  if (states.size() != WordMapperConfig().states.size())
    throw core::DataError("{}: metadata \"{}\" holds {} numbers, not one for each of {} words", where, states_key, states.size(),
                          WordMapperConfig().states.size());
  return states;
}

int64_t side_of(const io::Safetensors& file, const char* name, int64_t dimension, const std::string& where) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end() || found->second.dim() != 2 || found->second.numel() == 0)
    throw core::DataError("{}: is no mapper of ELITE: it has no \"{}\" of two dimensions. `syncdr-data convert --as elite` makes one of a global_mapper.pt",
                          where, name);
  return found->second.size(dimension);
}

void check_fit(const WordMapperConfig& config, const MapperSurroundings& surroundings, const std::string& where) {
  if (config.image_width != surroundings.image_width)
    throw core::DataError("{}: maps hidden states of {} values, those of the image encoder {} have {}. Name the one that it was trained with", where,
                          config.image_width, surroundings.image_encoder, surroundings.image_width);
  const int64_t last = *std::max_element(config.states.begin(), config.states.end());
  if (last > surroundings.image_layers)
    throw core::DataError("{}: maps hidden state {}, the image encoder {} has {} layers. Name the one that it was trained with", where, last,
                          surroundings.image_encoder, surroundings.image_layers);
  if (config.width != surroundings.text_width)
    throw core::DataError("{}: makes words of {} values, the text encoder of {} takes {}. It was trained for another checkpoint", where, config.width,
                          surroundings.checkpoint, surroundings.text_width);
}

}  // namespace

WordMapperImpl::WordMapperImpl(const WordMapperConfig& config) : config_(config) {
  for (size_t i = 0; i < config.states.size(); ++i) {
    const auto network = [&](const char* kind) {
      return register_module(fmt::format("{}_{}", kind, i), std::make_shared<MappingNetwork>(config.image_width, config.hidden, config.width));
    };
    of_class_.push_back(network("mapping"));
    of_patches_.push_back(network("mapping_patch"));
  }
  for (const TextAttention& attention : config.attentions) {
    const auto projection = [&](const char* side) {
      return register_module(with_underscores(attention.name) + side, std::make_shared<DenseImpl>(config.width, attention.width, /*with_bias=*/false));
    };
    keys_.push_back(projection("_to_k"));
    values_.push_back(projection("_to_v"));
  }
}

at::Tensor WordMapperImpl::forward(const std::vector<at::Tensor>& states) {
  std::vector<at::Tensor> words;
  for (size_t i = 0; i < config_.states.size(); ++i) {
    const int64_t number = config_.states[i];
    if (states.empty() || number >= std::ssize(states)) throw core::UsageError("the mapper needs hidden state {}, there are {}", number, states.size());
    const at::Tensor& state = number < 0 ? states.back() : states[static_cast<size_t>(number)];
    const at::Tensor of_class = of_class_[i]->forward(state.narrow(1, 0, 1)), of_patches = of_patches_[i]->forward(state.narrow(1, 1, state.size(1) - 1));
    words.push_back(of_class + of_patches.mean(1, /*keepdim=*/true));
  }
  return at::cat(words, 1);
}

std::vector<TextProjection> WordMapperImpl::projections(at::ScalarType dtype) const {
  std::vector<TextProjection> all;
  for (size_t i = 0; i < keys_.size(); ++i) all.push_back({.key = keys_[i]->weight.to(dtype), .value = values_[i]->weight.to(dtype)});
  return all;
}

std::vector<TextAttention> cross_attentions(const UNetConfig& unet) {
  const UNet network(unet);  // without values it takes no memory
  for (const TextAttention& attention : network->text_attentions()) {
    if (!attention.name.ends_with(".attn2"))
      throw core::UsageError("the UNet's self-attention reads the text (only_cross_attention), for which ELITE has no projections. Use another checkpoint");
  }
  return network->text_attentions();
}

WordMapper load_word_mapper(const std::filesystem::path& path, const MapperSurroundings& surroundings, std::string* trained_with) {
  const std::string where = path.string();
  io::Safetensors file = io::read_safetensors(path);
  const WordMapperConfig config{.image_width = side_of(file, "mapping_0.0.weight", 1, where),
                                .hidden = side_of(file, "mapping_0.0.weight", 0, where),
                                .width = side_of(file, "mapping_0.6.weight", 0, where),
                                .states = states_in(file, where),
                                .attentions = surroundings.attentions};
  check_fit(config, surroundings, where);
  if (const auto found = file.metadata.find(image_encoder_key); trained_with && found != file.metadata.end()) *trained_with = found->second;
  WordMapper mapper(config);
  nn::adopt_state(*mapper, std::move(file.tensors), where, at::kFloat);
  mapper->eval();
  return mapper;
}

void save_word_mapper(const std::filesystem::path& file, const WordMapper& mapper, const std::map<std::string, std::string>& more) {
  std::map<std::string, std::string> metadata = more;
  metadata[states_key] = fmt::format("{}", fmt::join(mapper->config().states, " "));
  io::write_safetensors(file, nn::state_of(*mapper), metadata);
}

}  // namespace syncdr::diffusion
