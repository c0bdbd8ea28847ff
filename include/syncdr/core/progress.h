#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace syncdr::core {

/// Progress with rate and time left: a bar redrawn in place on a terminal, a line every ten seconds in a log. Rank 0 alone shows it.
class Progress {
 public:
  /// unit: plural noun of what is counted ("images", "steps"). total 0: unknown. done: what an earlier run had finished.
  Progress(std::string title, int64_t total, std::string unit, int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// count more are finished; note is shown at the end of the line ("loss 0.412").
  void advance(int64_t count, std::string note = {});

 private:
  void show(bool last);

  using Clock = std::chrono::steady_clock;
  std::string title_, unit_, note_;
  int64_t total_, first_, done_;
  Clock::time_point start_, shown_;
  bool terminal_;
};

}  // namespace syncdr::core
