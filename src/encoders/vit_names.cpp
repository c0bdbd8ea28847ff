#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "layouts.h"
#include "syncdr/core/error.h"
#include "vit.h"

/// What other libraries call a vision transformer's tensors.
namespace syncdr::encoders {
namespace {

struct Rename {
  std::string_view from;  ///< "^...": only at a name's beginning; else its first place
  std::string_view to;
};

/// In this order. What timm calls a tensor no line changes.
constexpr Rename renames[] = {
    // OpenAI's CLIP, open_clip
    {"^class_embedding", "cls_token"},
    {"^positional_embedding", "pos_embed"},
    {"^conv1.", "patch_embed.proj."},
    {"^ln_pre.", "norm_pre."},
    {"^ln_post.", "norm."},
    {"^transformer.resblocks.", "blocks."},
    {".ln_1.", ".norm1."},
    {".ln_2.", ".norm2."},
    {".c_fc.", ".fc1."},
    {".c_proj.", ".fc2."},
    {"^head.proj.", "head."},  // behind a network of timm's
    // torchvision
    {"^class_token", "cls_token"},
    {"^encoder.pos_embedding", "pos_embed"},
    {"^conv_proj.", "patch_embed.proj."},
    {"^encoder.layers.encoder_layer_", "blocks."},
    {".self_attention.", ".attn."},
    {".mlp.0.", ".mlp.fc1."},
    {".mlp.3.", ".mlp.fc2."},
    {"^encoder.ln.", "norm."},
    {"^heads.head.", "head."},
    // transformers: CLIP, SigLIP
    {"^embeddings.class_embedding", "cls_token"},
    {"^embeddings.patch_embedding.", "patch_embed.proj."},
    {"^embeddings.position_embedding.weight", "pos_embed"},
    {"^pre_layrnorm.", "norm_pre."},
    {"^post_layernorm.", "norm."},
    {"^encoder.layers.", "blocks."},
    {".layer_norm1.", ".norm1."},
    {".layer_norm2.", ".norm2."},
    {".self_attn.", ".attn."},
    {"^visual_projection.", "head."},
    {"^head.probe", "attn_pool.latent"},
    {"^head.attention.", "attn_pool."},
    {"^head.layernorm.", "attn_pool.norm."},
    {"^head.mlp.", "attn_pool.mlp."},
    // transformers: ViT, DINOv2, DINOv3
    {"^vit.", ""},
    {"^dinov2.", ""},
    {"^dinov2_with_registers.", ""},
    {"^embeddings.patch_embeddings.projection.", "patch_embed.proj."},
    {"^embeddings.patch_embeddings.", "patch_embed.proj."},
    {"^embeddings.position_embeddings", "pos_embed"},
    {"^embeddings.", ""},
    {"^encoder.layer.", "blocks."},
    {"^layer.", "blocks."},
    {".layernorm_before.", ".norm1."},
    {".layernorm_after.", ".norm2."},
    {".attention.attention.query.", ".attn.q_proj."},
    {".attention.attention.key.", ".attn.k_proj."},
    {".attention.attention.value.", ".attn.v_proj."},
    {".attention.output.dense.", ".attn.proj."},
    {".attention.", ".attn."},
    {".o_proj.", ".proj."},
    {".intermediate.dense.", ".mlp.fc1."},
    {".output.dense.", ".mlp.fc2."},
    {".gate_proj.", ".fc1_g."},
    {".up_proj.", ".fc1."},
    {".down_proj.", ".fc2."},
    {".layer_scale1.lambda1", ".ls1.gamma"},
    {".layer_scale2.lambda1", ".ls2.gamma"},
    {"^layernorm.", "norm."},
    {"^classifier.", "head."},
    // several of them
    {"^register_tokens", "reg_token"},
    {".in_proj_", ".qkv."},
    {".out_proj.", ".proj."},
};

/// Not of the network that gives features: a token for training with masks, a classifier's layer behind the class token, positions' numbers.
constexpr std::string_view dropped[] = {"mask_token", "pooler.dense.weight", "pooler.dense.bias", "position_ids"};

/// A perceptron's layer beside its gate.
constexpr Rename beside_gate[] = {{".fc1.", ".fc1_x."}};

/// timm's class for DINOv3 has no modules for its scales.
constexpr Rename scales[] = {{".ls1.gamma", ".gamma_1"}, {".ls2.gamma", ".gamma_2"}};

void rename(std::string& name, std::span<const Rename> table) {
  for (const auto& [from, to] : table) {
    if (from.front() == '^') {
      if (name.starts_with(from.substr(1))) name.replace(0, from.size() - 1, to);
    } else if (const size_t at = name.find(from); at != std::string::npos) {
      name.replace(at, from.size(), to);
    }
  }
}

/// Out of the map: undefined if it has none of this name.
at::Tensor take(io::NamedTensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) return {};
  const at::Tensor tensor = found->second;
  tensors.erase(found);
  return tensor;
}

/// "attn.q_proj.*", "attn.k_proj.*" and "attn.v_proj.*" -> "attn.qkv.*"; a bias that keys lack is zero. Without queries or values they stay, to be refused.
void join_projections(io::NamedTensors& tensors, const std::string& where) {
  std::vector<std::string> queries;
  for (const auto& [name, tensor] : tensors) {
    if (name.find(".attn.q_proj.") != std::string::npos) queries.push_back(name);
  }
  for (const std::string& query : queries) {
    const auto sibling = [&](std::string_view layer) {
      std::string name = query;
      return name.replace(name.find("q_proj"), 6, layer);
    };
    const std::string key = sibling("k_proj"), value = sibling("v_proj");
    if (!tensors.contains(value) || (query.ends_with(".weight") && !tensors.contains(key))) continue;
    const at::Tensor q = take(tensors, query), v = take(tensors, value), given = take(tensors, key), k = given.defined() ? given : at::zeros_like(q);
    if (q.dim() == 0 || q.sizes() != k.sizes() || q.sizes() != v.sizes())
      throw core::DataError("{}: \"{}\" and those of keys and values have other shapes than each other", where, query);
    tensors[sibling("qkv")] = at::cat({q, k, v});
  }
}

/// DINOv3's biases of queries and values, which stand alone in timm's layout, and are left out of it where they are zero.
void split_biases(io::NamedTensors& tensors, bool wanted, const std::string& network, const std::string& where) {
  for (int64_t block = 0;; ++block) {
    const std::string stem = fmt::format("blocks.{}.attn.", block);
    const at::Tensor bias = take(tensors, stem + "qkv.bias");
    if (!bias.defined()) return;
    const auto is_zero = [](const at::Tensor& x) { return x.count_nonzero().item<int64_t>() == 0; };
    const auto qkv = bias.reshape({-1}).chunk(3);
    if (qkv.size() != 3 || !is_zero(qkv[1])) throw core::DataError("{}: block {} has a bias of keys, which DINOv3 has not", where, block);
    if (wanted) {
      tensors[stem + "q_bias"] = qkv[0];
      tensors[stem + "v_bias"] = qkv[2];
    } else if (!is_zero(bias)) {
      throw core::DataError("{}: block {} has a bias of queries and values that is not zero, {} has none: take {}_qkvb", where, block, network, network);
    }
  }
}

/// CLIP's projection: open_clip keeps it transposed; only timm has a bias. Elsewhere a head is a classifier.
void fit_head(io::NamedTensors& tensors, int64_t projection) {
  if (const at::Tensor transposed = take(tensors, "proj"); transposed.defined()) tensors["head.weight"] = transposed.dim() == 2 ? transposed.t() : transposed;
  if (projection == 0) {
    take(tensors, "head.weight");
    take(tensors, "head.bias");
  } else if (tensors.contains("head.weight")) {
    tensors.emplace("head.bias", at::zeros({projection}));
  }
}

/// "attn_pool.qkv.*" -> "attn_pool.q.*", "attn_pool.kv.*"
void split_pool(io::NamedTensors& tensors, int64_t width) {
  for (const char* kind : {"weight", "bias"}) {
    const at::Tensor qkv = take(tensors, fmt::format("attn_pool.qkv.{}", kind));
    if (!qkv.defined() || qkv.dim() == 0) continue;
    tensors[fmt::format("attn_pool.q.{}", kind)] = qkv.slice(0, 0, width);
    tensors[fmt::format("attn_pool.kv.{}", kind)] = qkv.slice(0, width);
  }
}

bool is_square(int64_t area) {
  const auto side = std::llround(std::sqrt(static_cast<double>(area)));
  return side * side == area;
}

void fit_positions(io::NamedTensors& tensors, bool of_class_token, int64_t side, const std::string& where) {
  const auto found = tensors.find("pos_embed");
  if (found == tensors.end() || found->second.dim() != 3 || !found->second.is_floating_point()) return;
  const at::Tensor rows = found->second[0];
  const int64_t others = is_square(rows.size(0)) ? 0 : 1;
  at::Tensor positions = resampled_positions(rows.slice(0, others), side, where);
  if (others > 0) {
    const at::Tensor of_class = rows.slice(0, 0, 1);
    const auto token = tensors.find("cls_token");
    if (of_class_token) {
      positions = at::cat({of_class, positions});
    } else if (token != tensors.end() && token->second.sizes() == of_class.unsqueeze(0).sizes()) {
      token->second = token->second + of_class;  // DINOv2 with registers, but for timm's file: it holds the sum
    }
  }
  found->second = positions.unsqueeze(0);
}

/// Where a file's names tell that it is another network's, says which. What else does not fit is left to load_backbone.
void refuse_others(const io::NamedTensors& tensors, const VitOptions& options, const std::string& network, const std::string& where) {
  const bool after = tensors.contains("fc_norm.weight");
  if (after != (options.pooling == VitOptions::mean_then_norm) && (after || tensors.contains("norm.weight"))) {
    throw core::DataError(
        "{}: its last norm is \"{}\", which comes {} pooling; {} is a network of the other kind. There are rows with and without \"_fc_norm\"", where,
        after ? "fc_norm" : "norm", after ? "after" : "before", network);
  }
  if (options.projection > 0 && !tensors.contains("head.weight") && !tensors.contains("proj"))
    throw core::DataError("{}: it lacks CLIP's projection; for the features before it take {}_unprojected", where, network);
}

}  // namespace

io::NamedTensors Vit::own_names(io::NamedTensors file, const std::string& where) const {
  const bool is_rotary = options_.positions == VitOptions::rotary;
  const auto timm_name = [&](std::string name) {
    rename(name, renames);
    if (is_rotary) rename(name, scales);
    if (options_.gated) rename(name, beside_gate);
    return std::find(std::begin(dropped), std::end(dropped), name) == std::end(dropped) ? name : "";
  };
  io::NamedTensors tensors = renamed(file, timm_name, where);
  refuse_others(tensors, options_, name_, where);
  for (const char* name : {"cls_token", "reg_token", "pos_embed"}) {  // [D] or [n, D] -> [1, n, D]
    if (const auto found = tensors.find(name); found != tensors.end() && found->second.numel() > 0 && found->second.dim() > 0)
      found->second = found->second.reshape({1, -1, found->second.size(-1)});
  }
  join_projections(tensors, where);
  if (is_rotary) split_biases(tensors, options_.qkv_bias == VitOptions::no_keys, name_, where);
  split_pool(tensors, options_.width);
  fit_head(tensors, options_.projection);
  fit_positions(tensors, options_.positions == VitOptions::of_all_tokens, side_, where);
  return tensors;
}

}  // namespace syncdr::encoders
