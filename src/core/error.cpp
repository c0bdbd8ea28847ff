#include "syncdr/core/error.h"

#include <boost/stacktrace.hpp>
#include <cstdio>
#include <filesystem>
#include <new>

namespace syncdr::core {

Outcome outcome_of(const std::function<void()>& work) {
  try {
    work();
    return {};
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {ExitCode::io, "out of memory. Use fewer workers, smaller batches or a machine with more memory.", true};
  } catch (const std::filesystem::filesystem_error& error) {
    return {ExitCode::io, error.what(), true};
  } catch (const std::exception& error) {
    return {ExitCode::bug, fmt::format("{}\nThis error was not expected: it is a bug in syncdr; please report it with this text.", error.what()), true};
  } catch (...) {
    return {ExitCode::bug, "an exception of unknown type. This is a bug in syncdr; please report it.", true};
  }
}

int run_main(const std::function<int()>& body) noexcept {
  try {
    int code = 0;
    const auto outcome = outcome_of([&] { code = body(); });
    if (outcome.code == ExitCode::done) return code;
    std::fprintf(stderr, "error: %s\n", outcome.message.c_str());  // plain stdio: the logger may be what failed
    return static_cast<int>(outcome.code);
  } catch (const std::bad_alloc&) {  // there is no memory for the message either
    std::fputs("error: out of memory\n", stderr);
    return static_cast<int>(ExitCode::io);
  }
}

void detail::broken_invariant(const char* file, int line, const char* condition, const std::string& message) {
  throw BugError("{}:{}: broken invariant {}: {}. This is a bug in syncdr; please report it with this text.\n{}", file, line, condition, message,
                 boost::stacktrace::to_string(boost::stacktrace::stacktrace()));
}

}  // namespace syncdr::core
