#include "cut_translator.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include "parallel.h"
#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::translate {
namespace {

/// LibTorch's operations stay in the thread that calls them.
class OneThread {
 public:
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before_); }
  int before() const { return before_; }

 private:
  const int before_ = at::get_num_threads();
};

}  // namespace

at::Tensor generate(gan::Generator& generator, const at::Tensor& images, c10::Device device) {
  const at::NoGradGuard no_grad;
  if (!device.is_cpu()) return generator->forward(from_bytes(images, device));
  const OneThread one_thread;
  auto outputs = at::empty(images.sizes(), at::kFloat);
  parallel_for(images.size(0), one_thread.before(), [&](int64_t i) {
    at::init_num_threads();  // a new thread takes the number from here, or oneDNN would take all cores
    const at::NoGradGuard no_grad_here;  // the guard is each thread's own
    outputs[i].copy_(generator->forward(from_bytes(images.narrow(0, i, 1), device))[0]);
  });
  return outputs;
}

CutTranslator::CutTranslator(gan::Generator generator, const std::filesystem::path& weights, int64_t size, int64_t batch, c10::Device device)
    : generator_(std::move(generator)), weights_(weights.filename().string()), model_(nn::state_hash(*generator_)), size_(size), batch_(batch),
      device_(device) {
  if (size % 4 != 0 || size < 16)
    throw core::UsageError("translate.size is {}: CUT's generator halves the image twice, so it must be a multiple of 4, at least 16", size);
  // Timed or non-deterministic algorithms would let the same image differ between two runs.
  at::globalContext().setBenchmarkCuDNN(false);
  at::globalContext().setDeterministicCuDNN(true);
  generator_->eval();
  generator_->to(device_);
}

Translated CutTranslator::translate(const at::Tensor& images, std::span<const Request>) {
  SYNCDR_ASSERT(images.dim() == 4 && images.size(0) == batch_ && images.size(3) == size_, "the generator is called with its own batch and size");
  return to_bytes(generate(generator_, images, device_));
}

std::map<std::string, std::string> CutTranslator::provenance() const {
  return {{"translator", "cut"},
          {"model", model_},
          {"weights", weights_},
          {"size", std::to_string(size_)},
          {"batch", std::to_string(batch_)},
          {"precision", "float32"},
          {"device", c10::DeviceTypeName(device_.type(), true)},
          {"libtorch", TORCH_VERSION}};
}

}  // namespace syncdr::translate
