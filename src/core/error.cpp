#include "syncdr/core/error.h"

#include <boost/stacktrace.hpp>

namespace syncdr::core::detail {

void broken_invariant(const char* file, int line, const char* condition, const std::string& message) {
  throw BugError("{}:{}: broken invariant {}: {}. This is a bug in syncdr; please report it with this text.\n{}", file, line, condition, message,
                 boost::stacktrace::to_string(boost::stacktrace::stacktrace()));
}

}  // namespace syncdr::core::detail
