#include "vit.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <numbers>

#include "syncdr/core/error.h"

namespace syncdr::encoders {
namespace {

std::shared_ptr<Affine> add(torch::nn::Module& parent, const char* name, at::IntArrayRef shape, bool with_bias = true) {
  return parent.register_module(name, std::make_shared<Affine>(shape, with_bias));
}

at::Tensor linear(const Affine& layer, const at::Tensor& x) { return at::linear(x, layer.weight, layer.bias); }

at::Tensor norm(const Affine& layer, const at::Tensor& x, double epsilon) { return at::layer_norm(x, layer.weight.sizes(), layer.weight, layer.bias, epsilon); }

at::Tensor activate(const at::Tensor& x, VitOptions::Activation activation) {
  if (activation == VitOptions::quick_gelu) return x * at::sigmoid(1.702 * x);
  return at::gelu(x, activation == VitOptions::tanh_gelu ? "tanh" : "none");
}

/// Rotary positions: cosines and sines [tokens, D / heads] of the angles by which a head's channels turn; undefined: there are none.
struct Rotation {
  at::Tensor cosines, sines;

  /// x [B, heads, tokens, D / heads]: channel k turns with k + half of them.
  at::Tensor operator()(const at::Tensor& x) const {
    const auto halves = x.chunk(2, -1);
    return (x * cosines + at::cat({-halves[1], halves[0]}, -1) * sines).to(x.scalar_type());  // in bfloat16 the products are still of float
  }
};

/// DINOv3's: patches' centres lie in [-1, 1] by [-1, 1]; periods are 100^(4 n / head) for n < head / 4; rows turn the first quarter, columns the
/// second, the second half as the first. Tokens before the patches do not turn.
Rotation rotation(int64_t side, int64_t before, int64_t head, const at::Tensor& like) {
  const auto doubles = like.options().dtype(at::kDouble);
  const at::Tensor centres = (2 * at::arange(side, doubles) + 1) / side - 1;
  const at::Tensor periods = at::pow(100.0, 4 * at::arange(head / 4, doubles) / head);
  const at::Tensor turns = (2 * std::numbers::pi * centres.unsqueeze(1) / periods);  // [side, head / 4]
  const at::Tensor rows = turns.unsqueeze(1).expand({side, side, -1}), columns = turns.unsqueeze(0).expand({side, side, -1});
  const at::Tensor patches = at::cat({rows, columns, rows, columns}, -1).flatten(0, 1);
  const at::Tensor angles = at::cat({at::zeros({before, head}, doubles), patches});
  const auto type = like.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return {angles.cos().to(type), angles.sin().to(type)};
}

/// Two linear layers, the first one with a gate if there is one: [..., D] -> the same.
class Perceptron : public torch::nn::Module {
 public:
  explicit Perceptron(const VitOptions& options) : activation_(options.activation) {
    const int64_t hidden = options.hidden > 0 ? options.hidden : 4 * options.width;
    first_ = add(*this, options.gated ? "fc1_x" : "fc1", {hidden, options.width});
    if (options.gated) gate_ = add(*this, "fc1_g", {hidden, options.width});
    second_ = add(*this, "fc2", {options.width, hidden});
  }
  at::Tensor forward(const at::Tensor& x) const {
    const at::Tensor inner = linear(*first_, x);
    return linear(*second_, gate_ ? at::silu(linear(*gate_, x)) * inner : activate(inner, activation_));
  }

 private:
  VitOptions::Activation activation_;
  std::shared_ptr<Affine> first_, gate_, second_;
};

/// Self-attention: [B, N, D] -> the same.
class Attention : public torch::nn::Module {
 public:
  explicit Attention(const VitOptions& options) : heads_(options.heads) {
    const int64_t width = options.width;
    qkv_ = add(*this, "qkv", {3 * width, width}, options.qkv_bias == VitOptions::whole);
    if (options.qkv_bias == VitOptions::no_keys) {
      query_bias_ = register_parameter("q_bias", at::zeros({width}));
      value_bias_ = register_parameter("v_bias", at::zeros({width}));
    }
    out_ = add(*this, "proj", {width, width});
  }

  at::Tensor forward(const at::Tensor& x, const Rotation& turn) const {
    const at::Tensor bias = query_bias_.defined() ? at::cat({query_bias_, at::zeros_like(query_bias_), value_bias_}) : qkv_->bias;
    const auto qkv = at::linear(x, qkv_->weight, bias).unflatten(-1, {3, heads_, -1}).permute({2, 0, 3, 1, 4}).unbind();  // each [B, heads, N, D / heads]
    const bool turns = turn.cosines.defined();
    const at::Tensor mixed = at::scaled_dot_product_attention(turns ? turn(qkv[0]) : qkv[0], turns ? turn(qkv[1]) : qkv[1], qkv[2]);
    return linear(*out_, mixed.transpose(1, 2).flatten(2));
  }

 private:
  int64_t heads_;
  std::shared_ptr<Affine> qkv_, out_;
  at::Tensor query_bias_, value_bias_;
};

constexpr double initial_layer_scale = 1e-5;

}  // namespace

Affine::Affine(at::IntArrayRef shape, bool with_bias) {
  weight = register_parameter("weight", shape.size() == 1 ? at::ones(shape) : at::empty(shape));
  if (with_bias) bias = register_parameter("bias", at::zeros({shape[0]}));
}

/// x + scale attention(norm(x)), then x + scale perceptron(norm(x)); scales are ones unless options.layer_scale. [B, N, D] -> the same
class VitBlock : public torch::nn::Module {
 public:
  explicit VitBlock(const VitOptions& options) : epsilon_(options.epsilon) {
    norm1_ = add(*this, "norm1", {options.width});
    attention_ = register_module("attn", std::make_shared<Attention>(options));
    norm2_ = add(*this, "norm2", {options.width});
    perceptron_ = register_module("mlp", std::make_shared<Perceptron>(options));
    if (!options.layer_scale) return;
    const auto scale = [&](const char* owner, const char* name) {
      torch::nn::Module& holder = *owner == '\0' ? *this : *register_module(owner, std::make_shared<torch::nn::Module>());
      return holder.register_parameter(name, at::full({options.width}, initial_layer_scale));
    };
    const bool eva = options.positions == VitOptions::rotary;  // timm has two classes of transformers, which name this differently
    scale1_ = eva ? scale("", "gamma_1") : scale("ls1", "gamma");
    scale2_ = eva ? scale("", "gamma_2") : scale("ls2", "gamma");
  }

  at::Tensor forward(const at::Tensor& input, const Rotation& turn) const {
    const auto scaled = [](const at::Tensor& x, const at::Tensor& scale) { return scale.defined() ? x * scale : x; };
    const at::Tensor x = input + scaled(attention_->forward(norm(*norm1_, input, epsilon_), turn), scale1_);
    return x + scaled(perceptron_->forward(norm(*norm2_, x, epsilon_)), scale2_);
  }

 private:
  double epsilon_;
  std::shared_ptr<Affine> norm1_, norm2_;
  std::shared_ptr<Attention> attention_;
  std::shared_ptr<Perceptron> perceptron_;
  at::Tensor scale1_, scale2_;
};

/// A learned query attends to all tokens; then x + perceptron(norm(x)). [B, N, D] -> [B, D]
class AttentionPool : public torch::nn::Module {
 public:
  explicit AttentionPool(const VitOptions& options) : heads_(options.heads), epsilon_(options.epsilon) {
    const int64_t width = options.width;
    latent_ = register_parameter("latent", at::empty({1, 1, width}));
    query_ = add(*this, "q", {width, width});
    key_value_ = add(*this, "kv", {2 * width, width});
    out_ = add(*this, "proj", {width, width});
    norm_ = add(*this, "norm", {width});
    perceptron_ = register_module("mlp", std::make_shared<Perceptron>(options));
  }

  at::Tensor forward(const at::Tensor& tokens) const {
    const at::Tensor query = linear(*query_, latent_.expand({tokens.size(0), -1, -1})).unflatten(-1, {heads_, -1}).transpose(1, 2);  // [B, heads, 1, D / heads]
    const auto kv = linear(*key_value_, tokens).unflatten(-1, {2, heads_, -1}).permute({2, 0, 3, 1, 4}).unbind();
    const at::Tensor x = linear(*out_, at::scaled_dot_product_attention(query, kv[0], kv[1]).flatten(1));
    return x + perceptron_->forward(norm(*norm_, x, epsilon_));
  }

 private:
  int64_t heads_;
  double epsilon_;
  at::Tensor latent_;
  std::shared_ptr<Affine> query_, key_value_, out_, norm_;
  std::shared_ptr<Perceptron> perceptron_;
};

Vit::Vit(std::string_view name, const VitOptions& options, int64_t size) : name_(name), options_(options), size_(size), side_(size / options.patch) {
  const int64_t patch = options.patch, width = options.width, below = side_ * patch;
  if (size < 1 || below != size) {
    throw core::UsageError("{0} cuts images into patches of {1} x {1} pixels, which do not fill {2} x {2}. The nearest side{3} {4}", name, patch, size,
                           below > 0 ? fmt::format("s that work are {} and", below) : " that works is", below + patch);
  }
  if (options.has_class_token()) class_token_ = register_parameter("cls_token", at::empty({1, 1, width}));
  if (options.registers > 0) registers_ = register_parameter("reg_token", at::empty({1, options.registers, width}));
  if (options.positions != VitOptions::rotary) {
    const int64_t others = options.positions == VitOptions::of_all_tokens ? 1 : 0;
    positions_ = register_parameter("pos_embed", at::empty({1, others + side_ * side_, width}));
  }
  patches_ = add(*register_module("patch_embed", std::make_shared<torch::nn::Module>()), "proj", {width, 3, patch, patch}, !options.norm_first);
  if (options.norm_first) first_norm_ = add(*this, "norm_pre", {width});
  const auto blocks = register_module("blocks", std::make_shared<torch::nn::Module>());
  for (int64_t i = 0; i < options.depth; ++i) blocks_.push_back(blocks->register_module(std::to_string(i), std::make_shared<VitBlock>(options)));
  norm_ = add(*this, options.pooling == VitOptions::mean_then_norm ? "fc_norm" : "norm", {width});
  if (options.pooling == VitOptions::attention) attention_pool_ = register_module("attn_pool", std::make_shared<AttentionPool>(options));
  if (options.projection > 0) projection_ = add(*this, "head", {options.projection, width});
}

at::Tensor Vit::embed(const at::Tensor& images) const {
  at::Tensor x = at::conv2d(images, patches_->weight, patches_->bias, options_.patch).flatten(2).transpose(1, 2);
  if (options_.positions == VitOptions::of_patches) x = x + positions_;
  std::vector<at::Tensor> tokens;
  for (const at::Tensor& token : {class_token_, registers_}) {
    if (token.defined()) tokens.push_back(token.expand({x.size(0), -1, -1}));
  }
  tokens.push_back(x);
  x = at::cat(tokens, 1);
  return options_.positions == VitOptions::of_all_tokens ? x + positions_ : x;
}

at::Tensor Vit::pool(const at::Tensor& tokens) const {
  const auto patches = [&](const at::Tensor& x) { return x.slice(1, options_.tokens_before_patches()); };
  switch (options_.pooling) {
    case VitOptions::class_token: return norm(*norm_, tokens.select(1, 0), options_.epsilon);
    case VitOptions::mean_of_patches: return patches(norm(*norm_, tokens, options_.epsilon)).mean(1);
    case VitOptions::mean_then_norm: return norm(*norm_, patches(tokens).mean(1), options_.epsilon);
    case VitOptions::attention: return attention_pool_->forward(norm(*norm_, tokens, options_.epsilon));
  }
  SYNCDR_ASSERT(false, "pooling {}", static_cast<int>(options_.pooling));
}

at::Tensor Vit::forward(const at::Tensor& images) {
  if (images.dim() != 4 || images.size(1) != 3 || images.size(2) != size_ || images.size(3) != size_)
    throw core::UsageError("images [{}] for {}, which was made for [B, 3, {}, {}]", fmt::join(images.sizes(), ", "), name_, size_, size_);
  Rotation turn;
  if (options_.positions == VitOptions::rotary) turn = rotation(side_, options_.tokens_before_patches(), options_.width / options_.heads, images);
  at::Tensor x = embed(images);
  if (first_norm_) x = norm(*first_norm_, x, options_.epsilon);
  for (const auto& block : blocks_) x = block->forward(x, turn);
  x = pool(x);
  return projection_ ? linear(*projection_, x) : x;
}

std::vector<std::vector<std::string>> Vit::layers() const {
  std::vector<std::vector<std::string>> layers{{"cls_token", "reg_token", "pos_embed", "patch_embed.", "norm_pre."}};
  for (size_t i = 0; i < blocks_.size(); ++i) layers.push_back({fmt::format("blocks.{}.", i)});
  layers.push_back({"norm.", "fc_norm.", "attn_pool.", "head."});
  return layers;
}

}  // namespace syncdr::encoders
