#include "painter.h"

#include <ATen/ops/zeros.h>

#include <chrono>
#include <numeric>

#include "pictures.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/hash.h"

namespace syncdr::translate {
namespace {

constexpr int64_t blank_contrast = 2;   // of 255: an output in which nothing can be seen
constexpr int64_t drawn_contrast = 16;  // of 255: an input in which something certainly can

/// What is wrong with an output; empty: nothing.
std::string fault_of(const at::Tensor& source, const Translated& output, int64_t slot) {
  if (!output.finite.data_ptr<bool>()[slot]) return "the model gave NaN or infinity";
  if (contrast(output.images[slot]) <= blank_contrast && contrast(picture_of(source)) >= drawn_contrast) return "the output is blank";
  return {};
}

}  // namespace

Translated Painter::translate(const at::Tensor& images, int64_t unit, const std::vector<int64_t>& positions, bool again) {
  std::vector<Request> requests;
  for (const auto position : positions) {
    const auto row = layout_.row_of(unit, position);
    const auto variant = layout_.variant_of(position) + (again ? static_cast<int32_t>(layout_.variants) : 0);
    requests.push_back({.seed = layout_.seed, .key_hash = io::hash64(layout_.rows.key(row)), .variant = variant, .prompt = layout_.prompts.of(row)});
  }
  // What pads the batch asks for what the first image asks for.
  requests.resize(static_cast<size_t>(layout_.batch), Request(requests[0]));
  const auto start = std::chrono::steady_clock::now();
  auto output = translator_.translate(images, requests);
  seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return output;
}

int64_t Painter::paint(const SourceBatch& batch, UnitWriter& writer) {
  std::vector<int64_t> positions(static_cast<size_t>(batch.count));
  std::iota(positions.begin(), positions.end(), batch.first);
  const auto output = translate(batch.images, batch.unit, positions, false);

  quarantined_ = 0;
  FinishedBatch finished{.unit = batch.unit};
  for (int64_t slot = 0; slot < batch.count; ++slot) {
    const auto source = batch.images[slot];
    const auto position = batch.first + slot;
    const auto& unreadable = batch.faults[static_cast<size_t>(slot)];
    const auto fault = unreadable.empty() ? fault_of(source, output, slot) : unreadable;
    if (fault.empty()) {
      finished.images.push_back({position, good, output.images[slot]});
    } else if (unreadable.empty() && translator_.is_random()) {
      waiting_.emplace_back(position, source);
    } else {
      quarantine(finished, position, source, fault);
    }
  }
  if (batch.last_of_unit) redraw(finished);
  writer.push(std::move(finished));
  return quarantined_;
}

void Painter::redraw(FinishedBatch& finished) {
  const auto images = at::zeros(layout_.batch_shape(), at::kByte);
  for (auto rest = std::span(waiting_); !rest.empty();) {
    const auto now = rest.first(std::min(rest.size(), static_cast<size_t>(layout_.batch)));
    rest = rest.subspan(now.size());
    std::vector<int64_t> positions;
    for (const auto& [position, source] : now) {
      images[std::ssize(positions)].copy_(source);
      positions.push_back(position);
    }
    const auto output = translate(images, finished.unit, positions, true);
    for (int64_t slot = 0; slot < std::ssize(now); ++slot) {
      const auto& [position, source] = now[static_cast<size_t>(slot)];
      const auto fault = fault_of(source, output, slot);
      if (fault.empty()) {
        finished.images.push_back({position, redrawn, output.images[slot]});
      } else {
        quarantine(finished, position, source, fault + ", twice");
      }
    }
  }
  waiting_.clear();
}

void Painter::quarantine(FinishedBatch& finished, int64_t position, const at::Tensor& source, const std::string& reason) {
  const auto& key = layout_.rows.key(layout_.row_of(finished.unit, position));
  core::warn("\"{}\" variant {} is quarantined: {}", key, layout_.variant_of(position), reason);
  finished.images.push_back({position, quarantined, picture_of(source)});
  ++quarantined_;
}

}  // namespace syncdr::translate
