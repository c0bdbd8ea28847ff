#include "host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "syncdr/core/error.h"
#include "syncdr/core/parallel.h"

namespace syncdr::comm {
namespace {

/// "" for an address that leads back to the asker (127.0.0.0/8).
std::string text_of(const sockaddr* address) {
  const auto& ip = reinterpret_cast<const sockaddr_in*>(address)->sin_addr;
  char text[INET_ADDRSTRLEN] = "";
  if ((ntohl(ip.s_addr) >> 24) == 127) return "";
  inet_ntop(AF_INET, &ip, text, sizeof(text));
  return text;
}

std::string address_of_name() {
  char name[256] = "";
  gethostname(name, sizeof(name) - 1);
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  if (getaddrinfo(name, nullptr, &hints, &found) != 0) return "";
  std::string text;
  for (auto* entry = found; entry && text.empty(); entry = entry->ai_next) text = text_of(entry->ai_addr);
  freeaddrinfo(found);
  return text;
}

std::string address_of_interface() {
  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0) return "";
  std::string text;
  for (auto* entry = found; entry && text.empty(); entry = entry->ifa_next)
    if (entry->ifa_addr && entry->ifa_addr->sa_family == AF_INET && (entry->ifa_flags & IFF_UP)) text = text_of(entry->ifa_addr);
  freeifaddrs(found);
  return text;
}

/// The daemon that has started this process on behalf of an mpirun elsewhere; 0 if there is none.
pid_t daemon_of_mpirun() {
  for (pid_t pid = ::getppid(); pid > 1;) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    std::getline(file, line);
    const auto begin = line.find('('), end = line.rfind(')');
    if (begin == std::string::npos || end == std::string::npos) return 0;
    const auto name = line.substr(begin + 1, end - begin - 1);
    if (name == "orted" || name == "prted") return pid;
    char state = 0;
    std::istringstream(line.substr(end + 1)) >> state >> pid;
  }
  return 0;
}

}  // namespace

std::string reachable_address() {
  if (const char* chosen = std::getenv("SYNCDR_STORE_HOST"); chosen && *chosen) return chosen;
  auto address = address_of_name();
  if (address.empty()) address = address_of_interface();
  if (address.empty()) throw core::IoError("this host has no network address that other hosts could reach; name one in SYNCDR_STORE_HOST");
  return address;
}

int share_of_cores(int sharers) { return std::max(1, static_cast<int>(core::usable_cores()) / std::max(1, sharers)); }

int compute_threads(int sharers) {
  if (const char* set = std::getenv("OMP_NUM_THREADS"))
    if (const int threads = std::atoi(set); threads > 0) return threads;
  return share_of_cores(sharers);
}

void end_daemon_later(int code) {
  static std::atomic<bool> called{false};
  const auto daemon = daemon_of_mpirun();
  if (daemon == 0 || called.exchange(true)) return;
  const int tenths = code == static_cast<int>(core::ExitCode::try_again) ? 35 : 200;
  // By its name, too: its id may be another's by then.
  const auto script = fmt::format(
      "i=0; while read name </proc/{0}/comm && case $name in orted | prted) ;; *) false ;; esac; do\n"
      "[ $i -lt {1} ] || kill -KILL {0}; i=$((i + 1)); sleep 0.1; done",
      daemon, tenths);
  const char* const words[] = {"sh", "-c", script.c_str(), nullptr};
  // Not of this process's group, which the daemon may end, and with none of its files, whose end the daemon waits for.
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t files;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addclosefrom_np(&files, 0);
  pid_t child = 0;
  posix_spawn(&child, "/bin/sh", &files, &attributes, const_cast<char* const*>(words), environ);
}

void leave(int code) {
  end_daemon_later(code);
  std::_Exit(code);
}

}  // namespace syncdr::comm
