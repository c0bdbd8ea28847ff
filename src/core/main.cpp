#include "syncdr/core/main.h"

#include <cstdio>
#include <exception>
#include <new>

#include "syncdr/core/error.h"

namespace syncdr::core {

int run_main(const std::function<int()>& body) noexcept {
  // Plain stdio: the logger may be what failed, and memory may be short.
  try {
    return body();
  } catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory. Use fewer workers, smaller batches or a machine with more memory.\n");
    return static_cast<int>(ExitCode::io);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\nThis error was not expected: it is a bug in syncdr; please report it with this text.\n", error.what());
  } catch (...) {
    std::fprintf(stderr, "error: an exception of unknown type. This is a bug in syncdr; please report it.\n");
  }
  return static_cast<int>(ExitCode::bug);
}

}  // namespace syncdr::core
