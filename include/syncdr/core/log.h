#pragma once
#include <fmt/format.h>

#include <string_view>

/// One logger for the process: standard error, a time stamp, the rank where there are several.
namespace syncdr::core {

/// Rank and number of ranks shown in each line. Rank 0 alone prints `info`; every rank prints warnings and errors.
void set_log_rank(int rank, int ranks);
int log_rank();

namespace detail {
enum class LogLevel { info, warning, error };
void log_line(LogLevel level, std::string_view line);
}  // namespace detail

template <class... Args> void info(fmt::format_string<Args...> format, Args&&... args) {
  detail::log_line(detail::LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args> void warn(fmt::format_string<Args...> format, Args&&... args) {
  detail::log_line(detail::LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args> void error(fmt::format_string<Args...> format, Args&&... args) {
  detail::log_line(detail::LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace syncdr::core
