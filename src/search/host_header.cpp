#include "host_header.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace syncdr::search {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

bool is_address(const std::string& name) {
  std::array<char, sizeof(in6_addr)> bytes{};
  return inet_pton(AF_INET, name.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1;
}

std::string machine_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace

bool is_own_host(const std::string& header, const std::string& listened) {
  const bool bracketed = header.starts_with('[');  // an address of IPv6
  const std::string name = lower(bracketed ? header.substr(1, header.find(']') - 1) : header.substr(0, header.find(':')));
  return is_address(name) || name == "localhost" || name == lower(listened) || name == lower(machine_name());
}

bool is_own_origin(const std::string& origin, const std::string& host) {
  const size_t scheme = origin.find("://");
  return scheme != std::string::npos && lower(origin.substr(scheme + 3)) == lower(host);
}

}  // namespace syncdr::search
