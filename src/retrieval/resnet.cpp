#include "resnet.h"

#include "syncdr/core/error.h"

namespace syncdr::retrieval {
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
      shortcut_ = register_module("downsample", torch::nn::Sequential(convolution(in, out, 1, stride), nn::BatchNorm(out)));
    }
  }

  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = input;
    for (size_t k = 0; k < convolutions_.size(); ++k) {
      x = norms_[k]->forward(convolutions_[k]->forward(x));
      if (k + 1 < convolutions_.size()) x.relu_();
    }
    x = x + (shortcut_ ? shortcut_->forward(input) : input);
    return x.relu_();
  }

 private:
  void add(int index, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    convolutions_.push_back(register_module("conv" + std::to_string(index), convolution(in, out, kernel, stride)));
    norms_.push_back(register_module("bn" + std::to_string(index), nn::BatchNorm(out)));
  }

  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<nn::BatchNorm> norms_;
  torch::nn::Sequential shortcut_{nullptr};
};
TORCH_MODULE(Block);

}  // namespace

ResNetShape resnet_shape(const std::string& name) {
  if (name == "resnet50") return {7, 64, 3, true, {3, 4, 6, 3}, {64, 128, 256, 512}};
  if (name == "resnet18") return {7, 64, 3, false, {2, 2, 2, 2}, {64, 128, 256, 512}};
  if (name == "small") return {5, 32, 2, false, {1, 1, 1, 1}, {32, 64, 128, 256}};
  throw core::UsageError("encoder.name \"{}\" is unknown; there are resnet50, resnet18 and small", name);
}

ResNetImpl::ResNetImpl(const ResNetShape& shape) : pool_kernel_(shape.pool_kernel) {
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

at::Tensor ResNetImpl::forward(const at::Tensor& images) {
  at::Tensor x = bn1_->forward(conv1_->forward(images)).relu_();                          // [B, C, H/2, W/2]
  x = at::max_pool2d(x, pool_kernel_, /*stride=*/2, /*padding=*/(pool_kernel_ - 1) / 2);  // [B, C, H/4, W/4]
  for (auto& stage : stages_) x = stage->forward(x);                                      // [B, features, H/32, W/32]
  return x.mean({2, 3});
}

}  // namespace syncdr::retrieval
