#include "syncdr/search/text_tower.h"

#include <ATen/TensorIndexing.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <optional>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/tokenizer.h"
#include "syncdr/io/json.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/nn/unit_rows.h"
#include "syncdr/nn/weights.h"

namespace syncdr::search {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view layer_prefix = "text_model.encoder.layers.";

struct Renaming {
  std::string_view from, to;  // from: a whole name, or where it ends in a dot its beginning
};

/// open_clip's and OpenAI's names -> transformers'.
constexpr std::array top_names{
    Renaming{"token_embedding.", "text_model.embeddings.token_embedding."}, Renaming{"positional_embedding", "text_model.embeddings.position_embedding.weight"},
    Renaming{"transformer.resblocks.", layer_prefix}, Renaming{"ln_final.", "text_model.final_layer_norm."}, Renaming{"text_projection", "text_projection"}};
constexpr std::array layer_names{Renaming{".ln_1.", ".layer_norm1."},
                                 Renaming{".ln_2.", ".layer_norm2."},
                                 Renaming{".attn.in_proj_", ".self_attn.in_proj_"},
                                 Renaming{".attn.out_proj.", ".self_attn.out_proj."},
                                 Renaming{".mlp.c_fc.", ".mlp.fc1."},
                                 Renaming{".mlp.c_proj.", ".mlp.fc2."}};

/// The text side's tensors of an open_clip model under transformers' names; nothing of what it does not know.
io::NamedTensors from_open_clip(const io::NamedTensors& file) {
  io::NamedTensors tensors;
  for (const auto& [full, tensor] : file) {
    std::string name = full;
    for (const std::string_view prefix : {"module.", "text."})  // of DistributedDataParallel, of open_clip's models with a text side of its own
      if (name.starts_with(prefix)) name.erase(0, prefix.size());
    const auto top = std::find_if(top_names.begin(), top_names.end(),
                                  [&](const Renaming& one) { return one.from.ends_with('.') ? name.starts_with(one.from) : name == one.from; });
    if (top == top_names.end()) continue;
    name.replace(0, top->from.size(), top->to);
    for (const auto& [from, to] : layer_names)
      if (const size_t place = name.find(from); place != std::string::npos) name.replace(place, from.size(), to);
    const size_t joined = name.find("in_proj_");
    if (joined == std::string::npos) {
      tensors.emplace(name, name == "text_projection" && tensor.dim() == 2 ? tensor.t() : tensor);
    } else {  // queries, keys, values
      const auto parts = tensor.chunk(3);
      for (size_t i = 0; i < parts.size(); ++i) {
        std::string part = name;
        tensors.emplace(part.replace(joined, 8, std::string(1, "qkv"[i]) + "_proj."), parts[i]);
      }
    }
  }
  if (const auto projection = tensors.find("text_projection"); projection != tensors.end()) {
    tensors.emplace("text_projection.weight", projection->second);
    tensors.erase(projection);
  }
  return tensors;
}

/// The text side alone, under transformers' names. Throws DataError if the file has none.
io::NamedTensors text_side(const fs::path& weights) {
  const io::NamedTensors file = io::read_safetensors(weights).tensors;
  const auto any = [&](std::string_view start) { return std::any_of(file.begin(), file.end(), [&](auto& item) { return item.first.starts_with(start); }); };
  io::NamedTensors tensors;
  if (any("text_model.")) {
    for (const auto& [name, tensor] : file)
      if (name.starts_with("text_model.") || name == "text_projection.weight") tensors.emplace(name, tensor);
    tensors.erase("text_model.embeddings.position_ids");  // files of older versions hold the counter
  } else {
    tensors = from_open_clip(file);
  }
  if (!tensors.contains("text_model.embeddings.token_embedding.weight"))
    throw core::DataError("{}: has no text side, so texts cannot be searched for. Take the file of the whole CLIP, as open_clip or transformers save it",
                          weights.string());
  if (!tensors.contains("text_projection.weight"))
    throw core::DataError("{}: its text side is none of CLIP's (\"text_projection\" is missing): of SigLIP and others pictures alone can be searched for",
                          weights.string());
  return tensors;
}

/// Of a file beside the weights.
struct Stated {
  std::optional<int64_t> heads;
  std::string activation;  // empty: not said
};

Stated stated_beside(const fs::path& weights) {
  Stated stated;
  if (const fs::path file = weights.parent_path() / "open_clip_config.json"; fs::exists(file)) {
    const std::string where = file.string();
    const json::value content = io::read_json(file);
    const json::object& model = io::json_object(io::as_object(content, where), "model_cfg", where);
    const json::object& text = io::json_object(model, "text_cfg", where);
    if (text.contains("heads")) stated.heads = io::json_int(text, "heads", where);
    if (const json::value* quick = model.if_contains("quick_gelu"); quick && quick->is_bool()) stated.activation = quick->get_bool() ? "quick_gelu" : "gelu";
  } else if (const fs::path other = weights.parent_path() / "config.json"; fs::exists(other)) {
    const std::string where = other.string();
    const json::value content = io::read_json(other);
    const json::value* text = io::as_object(content, where).if_contains("text_config");
    if (!text || !text->is_object()) return stated;
    const auto& fields = text->get_object();
    // What transformers leaves out has its default.
    stated.heads = fields.contains("num_attention_heads") ? io::json_int(fields, "num_attention_heads", where) : 8;
    stated.activation = fields.contains("hidden_act") ? io::json_string(fields, "hidden_act", where) : "quick_gelu";
  }
  return stated;
}

/// The activation of the models that a row is for; those of OpenAI's residual networks have the quick one too.
std::string activation_of(const std::string& encoder) {
  return encoder.find("quickgelu") != std::string::npos || encoder == "resnet50_clip" ? "quick_gelu" : "gelu";
}

diffusion::TextEncoderConfig config_of(const io::NamedTensors& tensors, const fs::path& weights, const std::string& encoder) {
  const auto shape = [&](const std::string& name) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.dim() != 2)
      throw core::DataError("{}: \"{}\" is missing in its text side, or no matrix", weights.string(), name);
    return found->second.sizes();
  };
  diffusion::TextEncoderConfig config;
  const auto tokens = shape("text_model.embeddings.token_embedding.weight");
  config.vocabulary = tokens[0];
  config.width = tokens[1];
  config.positions = shape("text_model.embeddings.position_embedding.weight")[0];
  config.hidden = shape(std::string(layer_prefix) + "0.mlp.fc1.weight")[0];
  config.layers = 0;
  while (tensors.contains(fmt::format("{}{}.mlp.fc1.weight", layer_prefix, config.layers))) ++config.layers;
  const Stated stated = stated_beside(weights);
  config.heads = stated.heads.value_or(std::max<int64_t>(1, config.width / 64));
  config.activation = stated.activation.empty() ? activation_of(encoder) : stated.activation;
  if (config.heads < 1 || config.width % config.heads != 0)
    throw core::DataError("{}: {} heads of its text side do not divide its width, {}", weights.string(), config.heads, config.width);
  if (config.activation != "quick_gelu" && config.activation != "gelu")
    throw core::DataError("{}: the activation \"{}\" of its text side is not supported; quick_gelu and gelu are", weights.string(), config.activation);
  return config;
}

diffusion::Tokenizer read_tokenizer(const fs::path& folder) {
  if (!fs::exists(folder / "vocab.json") && !fs::exists(folder / "tokenizer.json"))
    throw core::DataError(
        "{}: has neither vocab.json with merges.txt nor tokenizer.json, CLIP's vocabulary. Put them beside the weights, or name their folder: "
        "--tokenizer",
        folder.empty() ? "." : folder.string());
  return diffusion::Tokenizer(folder);
}

}  // namespace

struct TextTower::State {
  diffusion::Tokenizer tokenizer;
  diffusion::TextEncoder encoder;
  at::Tensor projection;  // [dim, width]
};

TextTower::TextTower(const fs::path& weights, const fs::path& tokenizer, const std::string& encoder) {
  io::NamedTensors tensors = text_side(weights);
  const auto config = config_of(tensors, weights, encoder);
  const at::Tensor projection = tensors.extract("text_projection.weight").mapped().to(at::kFloat).contiguous();
  if (projection.dim() != 2 || projection.size(1) != config.width)
    throw core::DataError("{}: the projection of its text side does not fit its width, {}", weights.string(), config.width);
  state_ = std::make_unique<State>(State{read_tokenizer(tokenizer), diffusion::TextEncoder(config), projection});
  nn::load_state(*state_->encoder, tensors, weights.string());
  state_->encoder->eval();
  const auto& words = state_->tokenizer;
  if (words.size() > config.vocabulary || words.length() > config.positions)
    throw core::DataError("{}: has {} tokens and texts of {}, the text side of {} has {} and {}: it is another model's vocabulary", tokenizer.string(),
                          words.size(), words.length(), weights.string(), config.vocabulary, config.positions);
}

TextTower::~TextTower() = default;
TextTower::TextTower(TextTower&& other) noexcept = default;

int64_t TextTower::dim() const { return state_->projection.size(0); }

at::Tensor TextTower::features(const std::vector<std::string>& texts) {
  auto& [tokenizer, encoder, projection] = *state_;
  for (const std::string& text : texts) {
    if (tokenizer.ids(text).empty()) throw core::DataError("the text \"{}\" is empty: write what the pictures should show, as in \"a dog\"", text);
    if (const std::string cut = tokenizer.cut_from(text); !cut.empty()) core::warn("\"{}\" is too long: the text side does not see its end, \"{}\"", text, cut);
  }
  const at::NoGradGuard no_gradient;
  const at::Tensor ids = tokenizer.encode(texts);
  const auto rows = ids.accessor<int64_t, 2>();
  std::vector<int64_t> ends;  // positions see those before them alone: what is padded behind the end has no influence
  for (int64_t text = 0; text < ids.size(0); ++text) {
    int64_t end = 1;
    while (rows[text][end] != tokenizer.end()) ++end;
    ends.push_back(end);
  }
  const at::Tensor hidden = encoder->forward(ids);  // [n, L, width]
  const at::Tensor of_texts = hidden.index({at::arange(ids.size(0)), at::tensor(ends, at::kLong)});
  return nn::unit_rows(of_texts.matmul(projection.t()));
}

}  // namespace syncdr::search
