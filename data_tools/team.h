#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"

namespace syncdr::data_tools {

/// The ranks of a job; or this process alone, where nothing has started ranks: MPI is then left alone, too, so that it need not work on a machine that only
/// prepares data. Methods are those of comm::World.
class Team {
 public:
  /// world: of the job; null: alone.
  explicit Team(comm::World* world) : world_(world) {}

  comm::World* world() const { return world_; }
  bool is_root() const { return !world_ || world_->is_root(); }
  int size() const { return world_ ? world_->size() : 1; }
  /// Of this rank, for reading and decoding.
  int64_t threads() const;
  int64_t add(const std::string& counter, int64_t value);
  bool any(bool here, const char* what) { return world_ ? world_->any(here, what) : here; }
  std::vector<std::string> gather(const std::string& text, const char* what) { return world_ ? world_->gather(text, what) : std::vector{text}; }

  /// Work on every rank, however long each takes: no rank waits in a collective, which would have a deadline. If it throws on a rank, stopped() becomes true
  /// on the others, and all throw the same core::Error.
  void together(const std::string& name, const std::function<void()>& work);
  bool stopped(const std::string& name) { return add(name + "/stop", 0) > 0; }
  /// Work on rank 0 while the others wait, however long it takes. An Error is thrown on every rank.
  void root_only(const std::string& name, const std::function<void()>& work);

 private:
  void wait_for(const std::string& counter, int64_t value);

  comm::World* world_;
  std::mutex mutex_;
  std::map<std::string, int64_t> counters_;  // alone
};

/// Runs work on every rank that was started, and ends the job in order: if it throws, with the error's code and message.
void run_in_team(const std::function<void(Team&)>& work);

}  // namespace syncdr::data_tools
