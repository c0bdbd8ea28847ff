#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include <array>
#include <string>

#include "syncdr/nn/batch_norm.h"

namespace syncdr::retrieval {

/// What tells one residual network from another.
struct ResNetShape {
  int64_t stem_kernel, stem_channels;
  int64_t pool_kernel;            ///< of the max pool after the stem; its stride is 2
  bool bottleneck;                ///< blocks of 1x1, 3x3, 1x1 instead of two 3x3
  std::array<int64_t, 4> blocks;  ///< in each stage
  std::array<int64_t, 4> widths;  ///< channels of each stage's 3x3 convolutions

  int64_t features() const { return widths[3] * (bottleneck ? 4 : 1); }
};

/// resnet18, resnet50 (He et al., CVPR 2016), small: one basic block a stage behind a 5x5 stem, for 64-pixel pictures.
ResNetShape resnet_shape(const std::string& name);

/// A residual network up to and with global average pooling; parameters and buffers have torchvision's and timm's names. A bottleneck
/// strides in its 3x3 convolution ("v1.5"), as theirs do.
class ResNetImpl : public torch::nn::Module {
 public:
  explicit ResNetImpl(const ResNetShape& shape);
  /// [B, 3, H, W] -> [B, shape.features()]
  at::Tensor forward(const at::Tensor& images);

 private:
  int64_t pool_kernel_;
  torch::nn::Conv2d conv1_{nullptr};
  nn::BatchNorm bn1_{nullptr};
  std::array<torch::nn::Sequential, 4> stages_{nullptr, nullptr, nullptr, nullptr};
};
TORCH_MODULE(ResNet);

}  // namespace syncdr::retrieval
