#include "syncdr/core/progress.h"

#include <unistd.h>

#include <algorithm>

#include "syncdr/core/log.h"

namespace syncdr::core {
namespace {

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

Progress::Progress(std::string title, int64_t total, std::string unit, int64_t done)
    : title_(std::move(title)), unit_(std::move(unit)), total_(total), first_(done), done_(done), start_(Clock::now()), shown_(start_),
      terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { show(true); }

void Progress::advance(int64_t count, std::string note) {
  done_ += count;
  note_ = std::move(note);
  const auto interval = terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(10);
  if (Clock::now() - shown_ >= interval) show(false);
}

void Progress::show(bool last) {
  shown_ = Clock::now();
  const double seconds = std::chrono::duration<double>(shown_ - start_).count();
  const double speed = seconds > 0 ? static_cast<double>(done_ - first_) / seconds : 0;  // of this process
  std::string line = fmt::format("{}: {}", title_, done_);
  if (total_ > 0) line += fmt::format("/{}", total_);
  line += fmt::format(" {}, {:.3g} {}/s", unit_, speed, unit_);
  if (last) {
    line += fmt::format(", took {}", duration(seconds));
  } else if (total_ > 0 && speed > 0) {
    line += fmt::format(", {} left", duration(static_cast<double>(total_ - done_) / speed));
  }
  if (!note_.empty()) line += ", " + note_;
  if (terminal_ && !last && total_ > 0) {
    constexpr int64_t width = 24;
    const auto full = std::clamp<int64_t>(done_ * width / total_, 0, width);
    fmt::print(stderr, "\r[{:#<{}}{:.<{}}] {}\x1b[K", "", full, "", width - full, line);
    std::fflush(stderr);
    return;
  }
  if (terminal_ && last) fmt::print(stderr, "\r\x1b[K");
  info("{}", line);
}

}  // namespace syncdr::core
