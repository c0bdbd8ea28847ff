#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "syncdr/comm/world.h"

namespace syncdr::comm {

/// Work that ranks claim, unit by unit: an atomic counter in the store of rank 0, whose own thread answers while rank 0 computes.
/// A slow rank takes less; there is no barrier between units.
class WorkQueue {
 public:
  /// All ranks name the same queue and the same number of units. A name may be used once in a job.
  WorkQueue(World& world, const std::string& name, int64_t units) : world_(world), key_("queue/" + name), units_(units) {}
  /// The next unit in [0, units) that nobody has claimed; nothing when all are claimed.
  std::optional<int64_t> claim() {
    const auto unit = world_.add(key_, 1, key_.c_str()) - 1;
    return unit < units_ ? std::optional(unit) : std::nullopt;
  }

 private:
  World& world_;
  std::string key_;
  int64_t units_;
};

}  // namespace syncdr::comm
