#include "syncdr/core/stop.h"

#include <atomic>
#include <csignal>
#include <map>

#include "syncdr/core/error.h"

namespace syncdr::core {
namespace {

std::atomic<bool> stopped{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // or the handler below would not be safe

void remember(int) { stopped = true; }

}  // namespace

void watch_stop_signals(const std::string& signal) {
  static const std::map<std::string, int> known{{"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"INT", SIGINT}, {"HUP", SIGHUP}};
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  if (signal == "none") return;
  const auto found = known.find(signal);
  if (found == known.end()) throw UsageError("unknown stop signal \"{}\". Use one of USR1, USR2, INT, HUP, none.", signal);
  sigaction(found->second, &action, nullptr);
}

bool stop_requested() { return stopped.load(std::memory_order_relaxed); }

}  // namespace syncdr::core
