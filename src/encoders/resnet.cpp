#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include <array>
#include <regex>

#include "layouts.h"
#include "makers.h"
#include "syncdr/core/error.h"
#include "syncdr/encoders/backbone.h"
#include "syncdr/nn/batch_norm.h"

namespace syncdr::encoders {
namespace {

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

/// A residual block: x + f(x), where f is two 3x3 convolutions or, in a bottleneck, 1x1, 3x3, 1x1 with four times as many channels at its
/// end.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(int64_t in, int64_t width, int64_t stride, bool bottleneck) {
    const int64_t out = bottleneck ? 4 * width : width;
    if (bottleneck) {
      add(1, in, width, 1, 1);
      add(2, width, width, 3, stride);
      add(3, width, out, 1, 1);
    } else {
      add(1, in, width, 3, stride);
      add(2, width, out, 3, 1);
    }
    if (stride != 1 || in != out) {
      shortcut_ = convolution(in, out, 1, stride);
      shortcut_norm_ = nn::BatchNorm(out);
      register_module("downsample", torch::nn::Sequential(shortcut_, shortcut_norm_));
    }
  }

  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = input;
    for (size_t k = 0; k < convolutions_.size(); ++k) {
      x = norms_[k]->after(convolutions_[k], x);
      if (k + 1 < convolutions_.size()) x.relu_();
    }
    x = x + (shortcut_ ? shortcut_norm_->after(shortcut_, input) : input);
    return x.relu_();
  }

 private:
  void add(int index, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    convolutions_.push_back(register_module("conv" + std::to_string(index), convolution(in, out, kernel, stride)));
    norms_.push_back(register_module("bn" + std::to_string(index), nn::BatchNorm(out)));
  }

  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<nn::BatchNorm> norms_;
  torch::nn::Conv2d shortcut_{nullptr};
  nn::BatchNorm shortcut_norm_{nullptr};
};
TORCH_MODULE(Block);

/// What tells one residual network from another.
struct ResNetShape {
  int64_t stem_kernel, stem_channels;
  int64_t pool_kernel;            ///< of the max pool after the stem; its stride is 2
  bool bottleneck;                ///< blocks of 1x1, 3x3, 1x1 instead of two 3x3
  std::array<int64_t, 4> blocks;  ///< in each stage
  std::array<int64_t, 4> widths;  ///< channels of each stage's 3x3 convolutions

  int64_t features() const { return widths[3] * (bottleneck ? 4 : 1); }
};

/// resnet18 to resnet152 (He et al., CVPR 2016), small: one basic block a stage behind a 5x5 stem, for 64-pixel pictures.
ResNetShape shape_of(std::string_view name) {
  constexpr std::array<int64_t, 4> widths = {64, 128, 256, 512};
  if (name == "resnet18") return {7, 64, 3, false, {2, 2, 2, 2}, widths};
  if (name == "resnet34") return {7, 64, 3, false, {3, 4, 6, 3}, widths};
  if (name == "resnet50") return {7, 64, 3, true, {3, 4, 6, 3}, widths};
  if (name == "resnet101") return {7, 64, 3, true, {3, 4, 23, 3}, widths};
  if (name == "resnet152") return {7, 64, 3, true, {3, 8, 36, 3}, widths};
  SYNCDR_ASSERT(name == "small", "no residual network {}", name);
  return {5, 32, 2, false, {1, 1, 1, 1}, {32, 64, 128, 256}};
}

/// transformers' names -> torchvision's. The classifier is dropped in both.
std::string from_transformers(const std::string& name) {
  static const std::regex stem(R"(embedder\.embedder\.(convolution|normalization)\.(.*))"), classifier(R"((fc|classifier\.1)\.(weight|bias))"),
      block(R"(encoder\.stages\.(\d)\.layers\.(\d+)\.(layer\.(\d)|shortcut)\.(convolution|normalization)\.(.*))");
  std::smatch part;
  if (std::regex_match(name, classifier)) return "";
  if (std::regex_match(name, part, stem)) return (part[1] == "convolution" ? "conv1." : "bn1.") + part[2].str();
  if (!std::regex_match(name, part, block)) return name;
  const bool convolution = part[5] == "convolution";
  const std::string layer = part[4].matched ? fmt::format("{}{}", convolution ? "conv" : "bn", std::stoi(part[4]) + 1)
                            : convolution   ? "downsample.0"
                                            : "downsample.1";
  return fmt::format("layer{}.{}.{}.{}", std::stoi(part[1]) + 1, part[2].str(), layer, part[6].str());
}

/// Parameters and buffers have torchvision's and timm's names, which agree. A bottleneck strides in its 3x3 convolution ("v1.5"), as theirs do.
class ResNet : public Backbone {
 public:
  explicit ResNet(const ResNetShape& shape) : shape_(shape) {
    conv1_ = register_module("conv1", convolution(3, shape.stem_channels, shape.stem_kernel, 2));
    bn1_ = register_module("bn1", nn::BatchNorm(shape.stem_channels));
    int64_t channels = shape.stem_channels;
    for (size_t stage = 0; stage < stages_.size(); ++stage) {
      torch::nn::Sequential blocks;
      for (int64_t k = 0; k < shape.blocks[stage]; ++k) {
        const int64_t stride = stage > 0 && k == 0 ? 2 : 1;
        blocks->push_back(Block(channels, shape.widths[stage], stride, shape.bottleneck));
        channels = shape.widths[stage] * (shape.bottleneck ? 4 : 1);
      }
      stages_[stage] = register_module("layer" + std::to_string(stage + 1), blocks);
    }
  }

  at::Tensor forward(const at::Tensor& images) override {
    const int64_t pool = shape_.pool_kernel;
    at::Tensor x = bn1_->after(conv1_, images).relu_();                     // [B, C, H/2, W/2]
    x = at::max_pool2d(x, pool, /*stride=*/2, /*padding=*/(pool - 1) / 2);  // [B, C, H/4, W/4]
    for (auto& stage : stages_) x = stage->forward(x);                      // [B, features, H/32, W/32]
    return x.mean({2, 3});
  }

  int64_t features() const override { return shape_.features(); }

  std::vector<std::vector<std::string>> layers() const override { return {{"conv1.", "bn1."}, {"layer1."}, {"layer2."}, {"layer3."}, {"layer4."}}; }

  io::NamedTensors own_names(io::NamedTensors file, const std::string& where) const override { return renamed(file, from_transformers, where); }

 private:
  ResNetShape shape_;
  torch::nn::Conv2d conv1_{nullptr};
  nn::BatchNorm bn1_{nullptr};
  std::array<torch::nn::Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};

}  // namespace

std::shared_ptr<Backbone> make_resnet(const BackboneRow& row, int64_t /*size*/) { return std::make_shared<ResNet>(shape_of(row.name)); }

}  // namespace syncdr::encoders
