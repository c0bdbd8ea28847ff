#pragma once
#include <ATen/core/Tensor.h>

#include <thread>

#include "bounded_queue.h"
#include "sealed_units.h"
#include "syncdr/io/claims.h"

namespace syncdr::translate {

struct FinishedImage {
  int64_t position = 0;  ///< in the unit
  Status status = good;
  at::Tensor planes;  ///< [3, size, size] uint8, contiguous
};

/// Finished images of one unit.
struct FinishedBatch {
  int64_t unit = 0;
  std::vector<FinishedImage> images;
};

/// Encodes finished images and seals each unit as soon as its last image has come, in a thread of its own. Images of a unit may come in any order,
/// those of one unit all before those of the next. A unit that never becomes complete leaves nothing behind, and one that another job has taken over
/// and sealed first stays as that job made it.
class UnitWriter {
 public:
  /// layout and claims must outlive this. Each unit is claimed when its first image comes, and released here.
  UnitWriter(const UnitLayout& layout, io::Claims& claims);
  /// Stops without sealing what is not sealed.
  ~UnitWriter() { queue_.abandon(); }
  /// Waits for room. Throws what went wrong in the thread.
  void push(FinishedBatch batch) { queue_.push(std::move(batch)); }
  /// Waits until what was pushed is written, and returns the units sealed. Call it once, last.
  std::vector<UnitRecord> finish();

 private:
  void run();
  void take(const FinishedBatch& batch);
  void seal();
  bool write(UnitRecord& record);

  const UnitLayout& layout_;
  io::Claims& claims_;
  int64_t unit_ = -1;                       ///< whose rows are gathered
  std::vector<std::vector<uint8_t>> rows_;  ///< [images of the unit] encoded
  std::vector<int32_t> statuses_;           ///< [images of the unit]
  int64_t missing_ = 0;
  std::vector<UnitRecord> sealed_;
  BoundedQueue<FinishedBatch> queue_{2};
  std::jthread thread_;
};

}  // namespace syncdr::translate
