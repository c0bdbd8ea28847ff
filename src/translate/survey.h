#pragma once
#include <chrono>
#include <vector>

#include "sealed_units.h"
#include "syncdr/comm/world.h"
#include "syncdr/io/claims.h"

namespace syncdr::translate {

/// What there is to do in a run's folder, as rank 0 saw it; the same on every rank.
struct Survey {
  std::vector<int64_t> sealed;             ///< units that are there, but not recorded yet
  std::vector<int64_t> open, generations;  ///< units that are not there, and claimed by nobody alive; of the claim to take on each

  void add_open(int64_t unit, int64_t generation) {
    open.push_back(unit);
    generations.push_back(generation);
  }
};

/// Looks at the folder again and again, so that it knows which claims are dead.
class Surveyor {
 public:
  Surveyor(comm::World& world, const UnitLayout& layout, io::Milliseconds timeout) : world_(world), layout_(layout), folder_(layout.folder, timeout) {}
  /// A collective. idle: the round before found nothing to do, so rank 0 waits a little first.
  Survey look(const UnitTable& table, bool idle);
  /// Removes what the dead have left. On rank 0, when every unit is sealed.
  void tidy() { folder_.look(); }

 private:
  Survey look_here(const UnitTable& table);
  void tell_waiting(int64_t held, const std::string& name, const io::ClaimedFolder::Claim& claim);

  using Clock = std::chrono::steady_clock;
  comm::World& world_;
  const UnitLayout& layout_;
  io::ClaimedFolder folder_;
  io::Milliseconds pause_{0};
  std::optional<Clock::time_point> told_;  ///< when the user was told that another job is waited for
};

}  // namespace syncdr::translate
