#include "syncdr/core/fault.h"

#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"

namespace syncdr::core {
namespace {

struct Fault {
  int signal = 0;
  std::string point;
  int64_t passing = 1;
  std::optional<int64_t> rank;
  std::string text;
};

[[noreturn]] void refuse(const char* value) {
  std::fprintf(stderr, "error: SYNCDR_FAULT=\"%s\" is not \"kill|stop,POINT,N,RANK,TEXT\"\n", value);
  std::_Exit(static_cast<int>(ExitCode::usage));
}

int64_t number(const std::string& text, const char* value) {
  int64_t parsed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size() || parsed < 0) refuse(value);
  return parsed;
}

std::optional<Fault> read_fault() {
  const char* value = std::getenv("SYNCDR_FAULT");
  if (!value || !*value) return std::nullopt;
  std::istringstream text(value);
  std::array<std::string, 5> fields;
  for (auto& field : fields) std::getline(text, field, &field == &fields.back() ? '\n' : ',');
  Fault fault{.signal = fields[0] == "kill" ? SIGKILL : fields[0] == "stop" ? SIGSTOP : 0, .point = fields[1], .text = fields[4]};
  if (fault.signal == 0 || fault.point.empty()) refuse(value);
  if (!fields[2].empty()) fault.passing = number(fields[2], value);
  if (!fields[3].empty()) fault.rank = number(fields[3], value);
  return fault;
}

}  // namespace

void fault_point(const char* name, std::string_view path) {
  static const auto fault = read_fault();
  if (!fault || fault->point != name || (fault->rank && *fault->rank != log_rank()) || path.find(fault->text) == std::string_view::npos) return;
  static std::atomic<int64_t> passed{0};
  if (++passed == fault->passing) std::raise(fault->signal);
}

}  // namespace syncdr::core
