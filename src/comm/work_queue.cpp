#include "syncdr/comm/work_queue.h"

namespace syncdr::comm {

WorkQueue::WorkQueue(World& world, const std::string& name, int64_t units) : world_(world), key_("queue/" + name), units_(units) {}

std::optional<int64_t> WorkQueue::claim() {
  const auto unit = world_.add(key_, 1, key_.c_str()) - 1;
  return unit < units_ ? std::optional(unit) : std::nullopt;
}

}  // namespace syncdr::comm
