#pragma once
#include <fmt/format.h>

#include <functional>
#include <stdexcept>
#include <string>

/// Errors that a user sees, each with the exit code of the process that meets it.
namespace syncdr::core {

/// Exit codes (sysexits.h where it has one). The larger the code, the less the run itself is to blame.
enum class ExitCode : int {
  done = 0,
  usage = 2,       ///< the command line or the configuration is wrong
  bad_data = 65,   ///< an input file is missing, broken or does not fit
  bug = 70,        ///< an invariant of our own does not hold
  io = 74,         ///< the system refused a read or a write
  try_again = 75,  ///< a peer died or a deadline passed
  requeue = 85,    ///< stopped on request, state is saved
};

/// Base of all errors that syncdr throws on purpose. The message says what is wrong, where, and how to mend it.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// Makes one error class with a formatting constructor: throw DataError("{}: row {} is truncated", path, row).
#define SYNCDR_ERROR_CLASS(Name, exit_code)                                                                                                             \
  class Name : public Error {                                                                                                                           \
   public:                                                                                                                                              \
    template <class... Args>                                                                                                                            \
    explicit Name(fmt::format_string<Args...> format, Args&&... args) : Error(ExitCode::exit_code, fmt::format(format, std::forward<Args>(args)...)) {} \
  }

SYNCDR_ERROR_CLASS(UsageError, usage);
SYNCDR_ERROR_CLASS(DataError, bad_data);
SYNCDR_ERROR_CLASS(BugError, bug);
SYNCDR_ERROR_CLASS(IoError, io);
SYNCDR_ERROR_CLASS(PeerError, try_again);
SYNCDR_ERROR_CLASS(StopRequested, requeue);
#undef SYNCDR_ERROR_CLASS

/// How work ended: done, or the code and message of what it threw.
struct Outcome {
  ExitCode code = ExitCode::done;
  std::string message;
  bool foreign = false;  ///< it was no core::Error
};
/// Runs work. Out of memory and errors of std::filesystem are 74 (the machine refused, the run may be right); any other exception that is no core::Error is
/// 70, with a request to report it.
Outcome outcome_of(const std::function<void()>& work);

/// Runs body and returns the process's exit code: what body returns, or that of its outcome, whose message goes to standard error.
int run_main(const std::function<int()>& body) noexcept;

namespace detail {
[[noreturn]] void broken_invariant(const char* file, int line, const char* condition, const std::string& message);
}

}  // namespace syncdr::core

/// An invariant of our own: SYNCDR_ASSERT(rows == keys.size(), "{} rows, {} keys", rows, keys.size()). Throws BugError with the stack.
#define SYNCDR_ASSERT(condition, ...)                                                                                     \
  do {                                                                                                                    \
    if (!(condition)) ::syncdr::core::detail::broken_invariant(__FILE__, __LINE__, #condition, fmt::format(__VA_ARGS__)); \
  } while (false)
