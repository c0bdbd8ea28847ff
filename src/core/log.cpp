#include "syncdr/core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace syncdr::core {
namespace {

int own_rank = 0;

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("syncdr", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%H:%M:%S %L %v");
    made->flush_on(spdlog::level::debug);  // a killed rank must not take its last words with it
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
    case LogLevel::off: return spdlog::level::off;
  }
  return spdlog::level::info;
}

}  // namespace

void set_log_rank(int rank, int ranks) {
  own_rank = rank;
  if (ranks > 1) logger().set_pattern(fmt::format("%H:%M:%S %L [{}/{}] %v", rank, ranks));
}

int log_rank() { return own_rank; }

void set_log_level(LogLevel level) { logger().set_level(level_of(level)); }

void detail::log_line(LogLevel level, std::string_view line) {
  if (level == LogLevel::info && own_rank != 0) return;
  logger().log(level_of(level), line);
}

}  // namespace syncdr::core
