#pragma once
#include <optional>

#include "syncdr/fit/cut.h"
#include "syncdr/gan/cut.h"
#include "syncdr/training/checkpoint.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/ema.h"
#include "syncdr/training/optimizer.h"
#include "unpaired_data.h"

namespace syncdr::fit {

/// What is optimized together: the generator and the heads that its PatchNCE uses.
struct TranslatorImpl : torch::nn::Module {
  TranslatorImpl(const gan::GeneratorConfig& config, bool with_heads);
  gan::Generator generator;
  gan::PatchProjection heads;
};
TORCH_MODULE(Translator);

/// CUT's networks with their optimizers, on every rank alike, and its training step.
class CutModel {
 public:
  CutModel(comm::World& world, const CutConfig& config, uint64_t seed);

  /// One step of discriminator, then of generator and heads. Returns this rank's shares of the losses, [3]: discriminator, GAN, NCE; over all ranks they
  /// sum to the means over the global batch.
  at::Tensor step(int64_t step, const UnpairedBatch& batch);

  /// [B, 3, S, S] uint8 on the CPU -> their translations, the same, by the generator that would be kept now.
  at::Tensor translate(const at::Tensor& images);
  /// The trained generator, or its moving average where there is one.
  gan::Generator kept_generator() const;
  double learning_rate(int64_t step) const;

  training::Checkpoint checkpoint(int64_t steps_done) const;
  void restore(const training::Checkpoint& checkpoint, const std::string& where);

 private:
  at::Tensor discriminator_step(const at::Tensor& translated, const at::Tensor& target, double share);
  at::Tensor nce_loss(const gan::GeneratorOutput& output, int64_t step);

  CutConfig config_;
  uint64_t seed_;
  c10::Device device_;
  Translator translator_;
  gan::Discriminator discriminator_;
  training::OptimizerConfig translator_settings_, discriminator_settings_;
  training::DataParallel translator_parallel_, discriminator_parallel_;
  std::unique_ptr<torch::optim::Optimizer> translator_optimizer_, discriminator_optimizer_;
  std::optional<training::Ema> ema_;
};

}  // namespace syncdr::fit
