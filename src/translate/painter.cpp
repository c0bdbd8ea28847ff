#include "painter.h"

#include <ATen/ops/zeros.h>

#include <chrono>

#include "pictures.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/hash.h"

namespace syncdr::translate {
namespace {

constexpr int64_t blank_contrast = 2;   // of 255: an output in which nothing can be seen
constexpr int64_t drawn_contrast = 16;  // of 255: an input in which something certainly can

void add(FinishedBatch& finished, int64_t position, Status status, const at::Tensor& image) {
  finished.positions.push_back(position);
  finished.statuses.push_back(status);
  finished.images.push_back(image);
}

/// What is wrong with an output; empty: nothing.
std::string fault_of(const at::Tensor& source, const Translated& output, int64_t slot) {
  if (!output.finite.data_ptr<bool>()[slot]) return "the model gave NaN or infinity";
  if (contrast(output.images[slot]) <= blank_contrast && contrast(source) >= drawn_contrast) return "the output is blank";
  return {};
}

}  // namespace

Request Painter::request_for(int64_t unit, int64_t position, bool again) const {
  const auto variant = plan_.variant_of(position) + (again ? static_cast<int32_t>(plan_.variants) : 0);
  const auto row = plan_.row_of(unit, position);
  return {.seed = plan_.seed, .key_hash = io::hash64(plan_.rows.key(row)), .variant = variant, .prompt = plan_.prompts.of(row)};
}

Translated Painter::translate(const at::Tensor& images, std::span<const Request> requests) {
  const auto start = std::chrono::steady_clock::now();
  auto output = translator_.translate(images, requests);
  seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return output;
}

int64_t Painter::paint(const SourceBatch& batch, UnitWriter& writer) {
  // What pads the batch asks for what the first image asks for.
  std::vector<Request> requests(static_cast<size_t>(plan_.batch), request_for(batch.unit, batch.first, false));
  for (int64_t slot = 1; slot < batch.count; ++slot) requests[static_cast<size_t>(slot)] = request_for(batch.unit, batch.first + slot, false);
  const auto output = translate(batch.images, requests);

  quarantined_ = 0;
  FinishedBatch finished{.unit = batch.unit};
  for (int64_t slot = 0; slot < batch.count; ++slot) {
    const auto source = batch.images[slot];
    const auto position = batch.first + slot;
    const auto& unreadable = batch.faults[static_cast<size_t>(slot)];
    const auto fault = unreadable.empty() ? fault_of(source, output, slot) : unreadable;
    if (fault.empty()) {
      add(finished, position, good, output.images[slot]);
    } else if (unreadable.empty() && translator_.is_random()) {
      waiting_.push_back({position, source});
    } else {
      quarantine(finished, position, source, fault);
    }
  }
  if (batch.last_of_unit) redraw(batch.unit, finished);
  writer.push(std::move(finished));
  return quarantined_;
}

void Painter::redraw(int64_t unit, FinishedBatch& finished) {
  const auto images = at::zeros({plan_.batch, 3, plan_.size, plan_.size}, at::kByte);
  for (size_t begin = 0; begin < waiting_.size(); begin += static_cast<size_t>(plan_.batch)) {
    const auto end = std::min(waiting_.size(), begin + static_cast<size_t>(plan_.batch));
    std::vector<Request> requests(static_cast<size_t>(plan_.batch), request_for(unit, waiting_[begin].position, true));
    for (auto i = begin; i < end; ++i) {
      images[static_cast<int64_t>(i - begin)].copy_(waiting_[i].image);
      requests[i - begin] = request_for(unit, waiting_[i].position, true);
    }
    const auto output = translate(images, requests);
    for (auto i = begin; i < end; ++i) {
      const auto& [position, source] = waiting_[i];
      const auto slot = static_cast<int64_t>(i - begin);
      const auto fault = fault_of(source, output, slot);
      if (fault.empty()) {
        add(finished, position, redrawn, output.images[slot]);
      } else {
        quarantine(finished, position, source, fault + ", twice");
      }
    }
  }
  waiting_.clear();
}

void Painter::quarantine(FinishedBatch& finished, int64_t position, const at::Tensor& source, const std::string& reason) {
  const auto& key = plan_.rows.key(plan_.row_of(finished.unit, position));
  core::warn("\"{}\" variant {} is quarantined: {}", key, plan_.variant_of(position), reason);
  add(finished, position, quarantined, source);
  ++quarantined_;
}

}  // namespace syncdr::translate
