// LibTorch's wheel is compiled with NDEBUG; without it RecordFunction::inputs() checks a flag that the wheel never sets. So no precompiled header here.
#define NDEBUG
#include "flop_counter.h"

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <memory>
#include <optional>
#include <string_view>

namespace syncdr::bench {
namespace {

thread_local FlopCounter* current = nullptr;

struct Counted : at::ObserverContext {
  explicit Counted(double each) : each_output(each) {}
  double each_output;  ///< operations for each element of the output
};

std::optional<double> each_output_of(const at::RecordFunction& function) {
  std::string_view name = function.name();
  if (!name.starts_with("aten::")) return {};
  name.remove_prefix(6);
  const auto size = [&](size_t input, int64_t dim) { return static_cast<double>(function.inputs().at(input).toTensor().size(dim)); };
  if (name == "conv2d" || name == "convolution" || name == "_convolution")
    return 2 * static_cast<double>(function.inputs().at(1).toTensor().numel()) / size(1, 0);
  if (name == "linear" || name == "matmul" || name == "mm" || name == "bmm") return 2 * size(0, -1);
  if (name == "addmm" || name == "baddbmm") return 2 * size(1, -1);
  if (name == "scaled_dot_product_attention") return 2 * size(1, -2) * (size(0, -1) + size(2, -1)) / size(2, -1);
  return {};
}

}  // namespace

struct FlopObserver {
  /// Operators call others that do the work: only the outermost counts.
  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
    const std::optional<double> each = each_output_of(function);
    if (!each) return nullptr;
    return std::make_unique<Counted>(current->depth_++ == 0 ? *each : 0);
  }

  static void end(const at::RecordFunction& function, at::ObserverContext* context) {
    if (!context) return;
    --current->depth_;
    const double each = static_cast<Counted*>(context)->each_output;
    if (each == 0 || function.outputs().empty() || !function.outputs()[0].isTensor()) return;
    current->by_operator_[function.name()] += each * static_cast<double>(function.outputs()[0].toTensor().numel());
  }
};

FlopCounter::FlopCounter() {
  current = this;
  handle_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(&FlopObserver::begin, &FlopObserver::end).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
}

FlopCounter::~FlopCounter() {
  at::removeCallback(handle_);
  current = nullptr;
}

double FlopCounter::total() const {
  double sum = 0;
  for (const auto& [name, count] : by_operator_) sum += count;
  return sum;
}

}  // namespace syncdr::bench
