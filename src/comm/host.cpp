#include "host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>

#include "syncdr/core/error.h"

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

}  // namespace

std::string reachable_address() {
  if (const char* chosen = std::getenv("SYNCDR_STORE_HOST"); chosen && *chosen) return chosen;
  auto address = address_of_name();
  if (address.empty()) address = address_of_interface();
  if (address.empty()) throw core::IoError("this host has no network address that other hosts could reach; name one in SYNCDR_STORE_HOST");
  return address;
}

int share_of_cores(int sharers) {
  if (const char* set = std::getenv("OMP_NUM_THREADS"))
    if (const int threads = std::atoi(set); threads > 0) return threads;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  const int cores = sched_getaffinity(getpid(), sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : 1;
  return std::max(1, cores / std::max(1, sharers));
}

}  // namespace syncdr::comm
