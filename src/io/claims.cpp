#include "syncdr/io/claims.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "syncdr/core/error.h"
#include "syncdr/core/fault.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"
#include "syncdr/io/hash.h"

namespace syncdr::io {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view mark = ".claim-";

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

/// Process ids mean the same to all processes of one boot and one process namespace.
const std::string& machine() {
  static const std::string text = [] {
    std::error_code ignored;
    const auto space = fs::read_symlink("/proc/self/ns/pid", ignored).string();
    char host[256] = "";
    ::gethostname(host, sizeof(host) - 1);
    return hash128(first_line("/proc/sys/kernel/random/boot_id") + space + host).substr(0, 12);
  }();
  return text;
}

/// When a process began, in ticks since boot: its id may be another's later. Empty: it has ended. Nothing: there is none, or it is hidden from this user.
std::optional<std::string> start_of(const std::string& pid) {
  const auto line = first_line("/proc/" + pid + "/stat");
  const auto name_end = line.rfind(')');  // a program's name may hold spaces
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  std::string state, field;
  fields >> state;  // the third field; a zombie has ended
  if (state == "Z" || state == "X") return "";
  for (int index = 4; index <= 22; ++index) fields >> field;
  return field;
}

/// NAME and G of NAME.claim-G.
std::optional<std::pair<std::string, int64_t>> parse_claim(const std::string& file) {
  const auto at = file.rfind(mark);
  if (at == std::string::npos) return std::nullopt;
  int64_t generation = -1;
  const char* const end = file.data() + file.size();
  const auto [rest, error] = std::from_chars(file.data() + at + mark.size(), end, generation);
  if (error != std::errc() || rest != end || generation < 0) return std::nullopt;
  return std::pair(file.substr(0, at), generation);
}

/// What stands between the last two dots of NAME.TOKEN.tmp.
std::string token_of_temporary(const std::string& file) {
  const auto stem = file.substr(0, file.size() - 4);
  const auto dot = stem.rfind('.');
  return dot == std::string::npos ? "" : stem.substr(dot + 1);
}

/// Time of modification in nanoseconds; nothing if the file is gone. Opened first: NFS answers from a cache unless a file is opened.
std::optional<int64_t> modified(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return std::nullopt;
  struct stat status{};
  const bool known = ::fstat(descriptor, &status) == 0;
  ::close(descriptor);
  if (!known) return std::nullopt;
  return int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

void remove_quietly(const fs::path& file) {
  std::error_code ignored;
  fs::remove(file, ignored);
}

}  // namespace

std::string process_token() {
  const auto pid = std::to_string(::getpid());
  return fmt::format("{}-{}-{}", machine(), pid, start_of(pid).value_or("0"));
}

std::optional<bool> has_ended(const std::string& token) {
  const auto first = token.find('-'), last = token.rfind('-');
  if (first == std::string::npos || first == last || token.substr(0, first) != machine()) return std::nullopt;
  const auto pid = token.substr(first + 1, last - first - 1);
  if (pid.empty() || pid.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  if (const auto start = start_of(pid)) return *start != token.substr(last + 1);
  const auto id = std::strtol(pid.c_str(), nullptr, 10);
  if (id > 0 && ::kill(static_cast<pid_t>(id), 0) != 0 && errno == ESRCH) return true;
  return std::nullopt;
}

Claims::Claims(fs::path folder, std::string owner, Milliseconds timeout)
    : folder_(std::move(folder)), owner_(std::move(owner)), interval_(timeout / 6), thread_([this](const std::stop_token& stop) { keep_alive(stop); }) {}

Claims::~Claims() {
  thread_.request_stop();
  thread_.join();
  const auto names = held_;
  for (const auto& [name, generation] : names) release(name);
}

fs::path Claims::path_of(const std::string& name, int64_t generation) const { return folder_ / fmt::format("{}{}{}", name, mark, generation); }

bool Claims::take(const std::string& name, int64_t generation) {
  const auto path = path_of(name, generation);
  static std::atomic<int64_t> count{0};
  auto temporary = path;
  temporary += fmt::format(".{}.{}.tmp", count++, process_token());
  bool taken = false;
  try {
    // Written aside, then linked: a claim that is there says whose it is, at whatever moment its owner is killed.
    OutputFile file(temporary);
    file.write(fmt::format("{}\n{}\n", process_token(), owner_));
    file.close();
    core::fault_point("claim.before_link", path.native());
    taken = link_unless_there(temporary, path);
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
  remove_quietly(temporary);
  if (!taken) return false;
  {
    const std::lock_guard lock(mutex_);
    held_[name] = generation;
  }
  core::fault_point("claim.created", path.native());
  return true;
}

void Claims::release(const std::string& name) {
  std::unique_lock lock(mutex_);
  const auto found = held_.find(name);
  if (found == held_.end()) return;
  const auto generation = found->second;
  held_.erase(found);
  lock.unlock();
  core::fault_point("claim.before_release", (folder_ / name).native());
  // The last one goes last: an earlier one alone would look like a dead owner's.
  for (int64_t earlier = 0; earlier <= generation; ++earlier) remove_quietly(path_of(name, earlier));
}

bool Claims::lost(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(name);
  return found == held_.end() || !fs::exists(path_of(name, found->second)) || fs::exists(path_of(name, found->second + 1));
}

void Claims::keep_alive(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, stop, interval_, [&] { return stop.stop_requested(); })) {
    const auto held = held_;
    lock.unlock();
    const timespec now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};  // the file server's time where there is one
    for (const auto& [name, generation] : held) ::utimensat(AT_FDCWD, path_of(name, generation).c_str(), now, 0);
    lock.lock();
  }
}

bool ClaimedFolder::is_dead(const std::string& file, const std::string& token) {
  if (has_ended(token).value_or(false)) return true;
  // One that still runs here may have been stopped: that shows in its file alone, as for a process of another machine.
  const auto changed = modified(folder_ / file);
  if (!changed) return false;  // just gone
  const auto now = Clock::now();
  auto& seen = seen_.try_emplace(file, Seen{*changed, now}).first->second;
  if (seen.changed != *changed) seen = {*changed, now};
  return now - seen.since >= timeout_;
}

ClaimedFolder::View ClaimedFolder::look() {
  const auto files = names_in(folder_);
  View view;
  std::vector<std::string> gone, temporaries;
  for (const auto& file : files) {
    if (const auto claim = parse_claim(file)) {
      auto& [generation, dead] = view.claims.try_emplace(claim->first, Claim{.generation = -1}).first->second;
      generation = std::max(generation, claim->second);
    } else if (file.ends_with(".tmp")) {
      temporaries.push_back(file);
    } else {
      view.files.insert(file);
    }
  }
  for (const auto& file : temporaries) {
    const auto token = token_of_temporary(file);
    if (std::count(token.begin(), token.end(), '-') != 2) {
      gone.push_back(file);  // of no process that shares its work
      continue;
    }
    // Only of who has certainly ended, or of what is sealed and no longer claimed: another's that does not change may be held up by a slow disk.
    const auto name = file.substr(0, file.size() - token.size() - std::strlen(".") - std::strlen(".tmp"));
    const bool of_a_claim = name.find(mark) != std::string::npos;  // written in an instant, so one that does not change is nobody's
    const bool of_a_sealed_file = view.files.contains(name) && !view.claims.contains(name);
    const bool perhaps_in_the_way = of_a_claim || view.files.contains(name);
    if (has_ended(token).value_or(false) || of_a_sealed_file || (perhaps_in_the_way && is_dead(file, token))) gone.push_back(file);
  }
  for (auto claim = view.claims.begin(); claim != view.claims.end();) {
    auto& [name, state] = *claim;
    const auto file = fmt::format("{}{}{}", name, mark, state.generation);
    state.dead = is_dead(file, first_line(folder_ / file));
    const bool over = state.dead && view.files.contains(name);  // killed between sealing and releasing
    for (int64_t earlier = 0; over && earlier <= state.generation; ++earlier) gone.push_back(fmt::format("{}{}{}", name, mark, earlier));
    claim = over ? view.claims.erase(claim) : std::next(claim);
  }
  for (const auto& file : gone) remove_quietly(folder_ / file);
  const std::set<std::string> there(files.begin(), files.end());
  std::erase_if(seen_, [&](const auto& item) { return !there.contains(item.first); });
  return view;
}

std::string ClaimedFolder::owner_of(const std::string& name, const Claim& claim) const {
  std::ifstream stream(folder_ / fmt::format("{}{}{}", name, mark, claim.generation));
  std::string token, owner;
  std::getline(stream, token);
  std::getline(stream, owner);
  return owner.empty() ? "somebody" : owner;
}

}  // namespace syncdr::io
