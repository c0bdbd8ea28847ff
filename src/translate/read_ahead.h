#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <thread>

#include "bounded_queue.h"
#include "unit_layout.h"

namespace syncdr::translate {

/// Source images of one call of the translator.
struct SourceBatch {
  int64_t unit = 0;
  int64_t first = 0;  ///< position in the unit of the first image
  int64_t count = 0;  ///< the rest is padding
  bool last_of_unit = false;
  at::Tensor images;                ///< [batch, 3 or, with masks, 4, size, size] uint8; zeros where there is no image or it cannot be read
  std::vector<std::string> faults;  ///< [count] why an image cannot be read; empty: it can
};

/// Claims units and decodes their images ahead of the translator, in a thread of its own.
class ReadAhead {
 public:
  using Claim = std::function<std::optional<int64_t>()>;
  /// claim is called in the thread. layout must outlive this.
  ReadAhead(const UnitLayout& layout, Claim claim);
  ~ReadAhead() { queue_.abandon(); }
  /// Batches of the claimed units, in order; nothing after the last. Throws what went wrong in the thread; a broken image is a fault of its batch instead.
  std::optional<SourceBatch> next() { return queue_.pop(); }

 private:
  void run();
  SourceBatch load(int64_t unit, int64_t first) const;

  const UnitLayout& layout_;
  Claim claim_;
  BoundedQueue<SourceBatch> queue_{2};
  std::jthread thread_;
};

}  // namespace syncdr::translate
