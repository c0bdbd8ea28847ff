#pragma once
#include <optional>
#include <vector>

#include "attention.h"
#include "resnet_block.h"

/// The levels of the UNet. Parameters are named as in diffusers.
namespace syncdr::diffusion {

/// What a level's blocks have in common.
struct LevelConfig {
  ResnetBlockConfig resnet;                    ///< in and out are set by each block
  std::optional<TransformerConfig> attention;  ///< after each residual block
  int64_t layers = 2;                          ///< residual blocks
  bool resample = true;                        ///< down- or upsampling at the end
};

/// DownBlock2D, and CrossAttnDownBlock2D where the level has attention.
class DownBlockImpl : public torch::nn::Module {
 public:
  DownBlockImpl(const LevelConfig& level, int64_t in, int64_t out, int64_t downsample_padding);
  /// Appends what the way up will need to skips. Returns the last of them.
  at::Tensor forward(at::Tensor x, const at::Tensor& time, const TextContext& text, std::vector<at::Tensor>& skips);

 private:
  std::vector<ResnetBlock> resnets_;
  std::vector<Transformer> attentions_;
  Downsample downsample_{nullptr};
};
TORCH_MODULE(DownBlock);

/// UNetMidBlock2DCrossAttn: residual block, transformer, residual block.
class MidBlockImpl : public torch::nn::Module {
 public:
  explicit MidBlockImpl(const LevelConfig& level);
  at::Tensor forward(const at::Tensor& x, const at::Tensor& time, const TextContext& text);

 private:
  std::vector<ResnetBlock> resnets_;
  std::vector<Transformer> attentions_;
};
TORCH_MODULE(MidBlock);

/// UpBlock2D, and CrossAttnUpBlock2D where the level has attention.
class UpBlockImpl : public torch::nn::Module {
 public:
  /// in: channels of the input; last_skip: of the skip that the last residual block takes, the way down's input of this level.
  UpBlockImpl(const LevelConfig& level, int64_t in, int64_t out, int64_t last_skip);
  /// Takes its skips from the end and upsamples to the size of the one that is then the last.
  at::Tensor forward(at::Tensor x, const at::Tensor& time, const TextContext& text, std::vector<at::Tensor>& skips);

 private:
  std::vector<ResnetBlock> resnets_;
  std::vector<Transformer> attentions_;
  Upsample upsample_{nullptr};
};
TORCH_MODULE(UpBlock);

}  // namespace syncdr::diffusion
