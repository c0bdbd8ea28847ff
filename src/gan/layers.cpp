#include "layers.h"

namespace syncdr::gan {

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t padding) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).padding(padding));
}

at::Tensor downsampled(const at::Tensor& input) {
  // The binomial [1, 2, 1] is two boxes [1, 1] after each other: two average pools, no filter tensor to keep on the right device.
  const at::Tensor padded = at::reflection_pad2d(input, {1, 1, 1, 1});
  return at::avg_pool2d(at::avg_pool2d(padded, 2, 1), 2, 2);
}

at::Tensor upsampled(const at::Tensor& input) {
  // A transposed convolution of stride 2 with [1, 3, 3, 1] / 4 takes 3/4 of the nearer and 1/4 of the farther pixel: that is bilinear
  // interpolation between pixel centres, and clamping there is the repeated border here. Measured 5 times as fast on a CPU.
  return at::upsample_bilinear2d(input, {2 * input.size(2), 2 * input.size(3)}, /*align_corners=*/false);
}

at::Tensor instance_norm(const at::Tensor& input) {
  const double epsilon = 1e-5;
  if (!input.is_cpu()) return at::instance_norm(input, {}, {}, {}, {}, /*use_input_stats=*/true, /*momentum=*/0, epsilon, /*cudnn_enabled=*/true);
  // On a CPU instance_norm leaves the channels-last layout and takes 2.5 times as long as this: batch normalisation of one image at a time,
  // which stays in the layout and, for our sizes, in the cache.
  std::vector<at::Tensor> images = input.split(1);
  for (at::Tensor& image : images) image = at::batch_norm(image, {}, {}, {}, {}, /*training=*/true, /*momentum=*/0, epsilon, /*cudnn_enabled=*/false);
  return at::cat(images);
}

ResnetBlockImpl::ResnetBlockImpl(int64_t channels) {
  using namespace torch::nn;
  block_ = register_module("conv_block", Sequential(ReflectionPad2d(1), convolution(channels, channels, 3, 0), Functional(instance_norm), ReLU(),
                                                    ReflectionPad2d(1), convolution(channels, channels, 3, 0), Functional(instance_norm)));
}

at::Tensor ResnetBlockImpl::forward(const at::Tensor& input) { return input + block_->forward(input); }

}  // namespace syncdr::gan
