#pragma once
#include <chrono>
#include <vector>

#include "plan.h"
#include "syncdr/comm/world.h"
#include "syncdr/io/claims.h"
#include "unit_table.h"

namespace syncdr::translate {

/// What there is to do in a run's folder, as rank 0 saw it; the same on every rank.
struct Survey {
  struct Open {
    int64_t unit = 0;
    int64_t generation = 0;  ///< of the claim to take
  };
  std::vector<int64_t> sealed;  ///< units that are there, but not recorded yet
  std::vector<Open> open;       ///< units that are not there, and claimed by nobody alive
  int64_t held = 0;             ///< units that are not there, and claimed by another job
};

/// Looks at the folder again and again, so that it knows which claims are dead.
class Surveyor {
 public:
  Surveyor(comm::World& world, const Plan& plan, io::Milliseconds timeout) : world_(world), plan_(plan), folder_(plan.folder, timeout) {}
  /// A collective. idle: the round before found nothing to do, so rank 0 waits a little first.
  Survey look(const UnitTable& table, bool idle);
  /// Removes what the dead have left. On rank 0, when every unit is sealed.
  void tidy() { folder_.look(); }

 private:
  Survey look_here(const UnitTable& table);
  void pause(bool idle);
  void tell_waiting(int64_t held, const std::string& name, const io::ClaimedFolder::Claim& claim);

  using Clock = std::chrono::steady_clock;
  comm::World& world_;
  const Plan& plan_;
  io::ClaimedFolder folder_;
  io::Milliseconds pause_{0};
  std::optional<Clock::time_point> told_;  ///< when the user was told that another job is waited for
};

}  // namespace syncdr::translate
