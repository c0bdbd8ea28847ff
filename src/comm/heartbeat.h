#pragma once
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "mpi_thread.h"

/// Signs of life: who has stopped or died is missed although nobody waits for it in a collective. Private to comm.
namespace syncdr::comm {

/// How long a rank that is not the one to say why the job ends leaves that to another before it ends, too, where no store tells which has spoken.
inline Milliseconds stand_by(Milliseconds deadline) { return std::min(deadline / 8, Milliseconds(1000)); }

/// Counts this rank up in the store, again and again. Rank 0 looks at everybody's counter: one that does not change within the deadline ends the job, by
/// rank, host and what it began last. A rank whose count gets no answer ends, too, still within the deadline: rank 0 has stopped or its own link is cut.
class Heartbeat {
 public:
  /// store: a connection of its own. fatal: called in the thread of this, must end the job.
  Heartbeat(MpiThread& thread, c10::intrusive_ptr<c10d::Store> store, Milliseconds deadline, std::function<void(const std::string&)> fatal);
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

 private:
  struct Peer {
    int64_t beats = 0;
    Clock::time_point since = Clock::now();
  };
  void run(const std::stop_token& stop);
  void beat();
  void look_at_peers();

  MpiThread& mpi_;
  const c10::intrusive_ptr<c10d::Store> store_;
  const Milliseconds deadline_, interval_, answer_within_;
  const std::function<void(const std::string&)> fatal_;
  std::string posted_;       ///< what was told last of this rank's activity
  std::vector<Peer> peers_;  ///< on rank 0
  Clock::time_point looked_ = Clock::now();
  std::jthread thread_;  // last: it uses all of the above
};

/// Calls `late` in a thread of its own unless what it returns is destroyed within the time.
[[nodiscard]] std::jthread watchdog(Milliseconds time, std::function<void()> late);

}  // namespace syncdr::comm
