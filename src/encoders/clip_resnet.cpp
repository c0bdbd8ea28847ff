#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <array>
#include <regex>

#include "layouts.h"
#include "makers.h"
#include "syncdr/core/error.h"
#include "syncdr/encoders/backbone.h"
#include "syncdr/nn/batch_norm.h"

/// The residual networks of CLIP (Radford et al., ICML 2021, section 2.4): a stem of three convolutions, strides by average pooling before a convolution
/// (Zhang, ICML 2019), and attention in place of average pooling at the end. Parameters and buffers have open_clip's names.
namespace syncdr::encoders {
namespace {

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

/// x + f(x), f of 1x1, 3x3, pool, 1x1.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(int64_t in, int64_t width, int64_t stride) : stride_(stride) {
    const int64_t out = 4 * width;
    conv1_ = register_module("conv1", convolution(in, width, 1));
    bn1_ = register_module("bn1", nn::BatchNorm(width));
    conv2_ = register_module("conv2", convolution(width, width, 3));
    bn2_ = register_module("bn2", nn::BatchNorm(width));
    conv3_ = register_module("conv3", convolution(width, out, 1));
    bn3_ = register_module("bn3", nn::BatchNorm(out));
    if (stride != 1 || in != out) {
      shortcut_ = convolution(in, out, 1);
      shortcut_norm_ = nn::BatchNorm(out);
      register_module("downsample", torch::nn::Sequential(shortcut_, shortcut_norm_));
    }
  }

  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = bn1_->after(conv1_, input).relu_();
    x = bn2_->after(conv2_, x).relu_();
    x = bn3_->after(conv3_, pooled(x));
    x = x + (shortcut_ ? shortcut_norm_->after(shortcut_, pooled(input)) : input);
    return x.relu_();
  }

 private:
  at::Tensor pooled(const at::Tensor& x) const { return stride_ > 1 ? at::avg_pool2d(x, stride_) : x; }

  int64_t stride_;
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr}, shortcut_{nullptr};
  nn::BatchNorm bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr}, shortcut_norm_{nullptr};
};
TORCH_MODULE(Block);

/// The mean of all places asks all places and itself.
class AttentionPoolImpl : public torch::nn::Module {
 public:
  AttentionPoolImpl(int64_t grid, int64_t width, int64_t heads, int64_t out) : heads_(heads) {
    positional_embedding = register_parameter("positional_embedding", at::zeros({grid * grid + 1, width}));
    q_ = register_module("q_proj", torch::nn::Linear(width, width));
    k_ = register_module("k_proj", torch::nn::Linear(width, width));
    v_ = register_module("v_proj", torch::nn::Linear(width, width));
    c_ = register_module("c_proj", torch::nn::Linear(width, out));
  }

  /// [B, width, grid, grid] -> [B, out]
  at::Tensor forward(const at::Tensor& map) {
    at::Tensor x = map.flatten(2).transpose(1, 2);                                                         // [B, grid^2, width]
    x = at::cat({x.mean(1, /*keepdim=*/true), x}, 1) + positional_embedding.to(x.scalar_type());           // [B, grid^2 + 1, width]
    const auto split = [&](const at::Tensor& y) { return y.unflatten(2, {heads_, -1}).transpose(1, 2); };  // [B, heads, tokens, width / heads]
    const at::Tensor mean = x.narrow(1, 0, 1);
    const at::Tensor seen = at::scaled_dot_product_attention(split(q_->forward(mean)), split(k_->forward(x)), split(v_->forward(x)));
    return c_->forward(seen.transpose(1, 2).flatten(1));
  }

  at::Tensor positional_embedding;  // [grid^2 + 1, width], the mean's first

 private:
  int64_t heads_;
  torch::nn::Linear q_{nullptr}, k_{nullptr}, v_{nullptr}, c_{nullptr};
};
TORCH_MODULE(AttentionPool);

/// timm's names -> open_clip's.
std::string from_timm(const std::string& name) {
  static const std::regex stem(R"(stem\.conv(\d)\.(conv|bn)\.(.*))"), block(R"(stages\.(\d)\.(\d+)\.(conv(\d)_(?:1x1|kxk)|shortcut\.conv)\.(conv|bn)\.(.*))"),
      pool(R"(head\.(pos_embed|(?:q|k|v|proj)\.(?:weight|bias)))");
  std::smatch part;
  const auto layer = [&](size_t kind, const std::string& number) { return (part[kind] == "conv" ? "conv" : "bn") + number + "."; };
  if (std::regex_match(name, part, stem)) return layer(2, part[1]) + part[3].str();
  if (std::regex_match(name, part, block)) {
    const std::string front = "layer" + std::to_string(std::stoi(part[1]) + 1) + "." + part[2].str() + ".";
    if (part[4].matched) return front + layer(5, part[4]) + part[6].str();
    return front + (part[5] == "conv" ? "downsample.0." : "downsample.1.") + part[6].str();
  }
  if (!std::regex_match(name, part, pool)) return name;
  if (part[1] == "pos_embed") return "attnpool.positional_embedding";
  const std::string weight = part[1];
  return "attnpool." + (weight.starts_with("proj.") ? "c_" + weight : weight.substr(0, 1) + "_proj" + weight.substr(1));
}

/// RN50.
class ClipResNet : public Backbone {
 public:
  explicit ClipResNet(int64_t size) : size_(size) {
    if (grid() == 0) throw core::UsageError("CLIP's residual network halves an image's side five times: {} pixels are too few, 32 are enough", size);
    constexpr int64_t width = 64;
    add_stem(0, 3, width / 2, 2);
    add_stem(1, width / 2, width / 2, 1);
    add_stem(2, width / 2, width, 1);
    constexpr std::array<int64_t, 4> blocks = {3, 4, 6, 3};
    int64_t channels = width;
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
      torch::nn::Sequential part;
      for (int64_t k = 0; k < blocks[stage]; ++k) {
        part->push_back(Block(channels, width << stage, stage > 0 && k == 0 ? 2 : 1));
        channels = 4 * (width << stage);
      }
      stages_[stage] = register_module("layer" + std::to_string(stage + 1), part);
    }
    pool_ = register_module("attnpool", AttentionPool(grid(), channels, channels / 64, features()));
  }

  at::Tensor forward(const at::Tensor& images) override {
    at::Tensor x = images;
    for (size_t k = 0; k < 3; ++k) x = stem_norms_[k]->after(stem_[k], x).relu_();  // [B, 64, H/2, W/2]
    x = at::avg_pool2d(x, 2);
    for (auto& stage : stages_) x = stage->forward(x);  // [B, 2048, H/32, W/32]
    return pool_->forward(x);
  }

  int64_t features() const override { return 1024; }

  std::vector<std::vector<std::string>> layers() const override {
    return {{"conv1.", "bn1.", "conv2.", "bn2.", "conv3.", "bn3."}, {"layer1."}, {"layer2."}, {"layer3."}, {"layer4."}, {"attnpool."}};
  }

  /// The stem's stride and four poolings.
  bool takes(int64_t side) const override { return (side + 1) / 32 == grid(); }

  io::NamedTensors own_names(io::NamedTensors file, const std::string& where) const override {
    io::NamedTensors tensors = renamed(file, from_timm, where);
    const auto found = tensors.find("attnpool.positional_embedding");
    if (found != tensors.end() && found->second.dim() == 2 && found->second.size(0) > 1) {
      const at::Tensor all = found->second;
      found->second = at::cat({all.slice(0, 0, 1).to(at::kFloat), resampled_positions(all.slice(0, 1), grid(), where)});
    }
    return tensors;
  }

 private:
  void add_stem(size_t k, int64_t in, int64_t out, int64_t stride) {
    stem_[k] = register_module("conv" + std::to_string(k + 1), convolution(in, out, 3, stride));
    stem_norms_[k] = register_module("bn" + std::to_string(k + 1), nn::BatchNorm(out));
  }

  int64_t grid() const { return (size_ + 1) / 32; }

  int64_t size_;
  std::array<torch::nn::Conv2d, 3> stem_{nullptr, nullptr, nullptr};
  std::array<nn::BatchNorm, 3> stem_norms_{nullptr, nullptr, nullptr};
  std::array<torch::nn::Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
  AttentionPool pool_{nullptr};
};

}  // namespace

std::shared_ptr<Backbone> make_clip_resnet(const BackboneRow& /*row*/, int64_t size) { return std::make_shared<ClipResNet>(size); }

}  // namespace syncdr::encoders
