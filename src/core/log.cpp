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
    made->flush_on(spdlog::level::info);  // a killed rank must not take its last words with it
    return made;
  }();
  return *instance;
}

}  // namespace

void set_log_rank(int rank, int ranks) {
  own_rank = rank;
  if (ranks > 1) logger().set_pattern(fmt::format("%H:%M:%S %L [{}/{}] %v", rank, ranks));
}

int log_rank() { return own_rank; }

void detail::log_line(LogLevel level, std::string_view line) {
  if (level == LogLevel::info && own_rank != 0) return;
  logger().log(level == LogLevel::info ? spdlog::level::info : level == LogLevel::warning ? spdlog::level::warn : spdlog::level::err, line);
}

}  // namespace syncdr::core
