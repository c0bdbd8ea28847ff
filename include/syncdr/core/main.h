#pragma once
#include <functional>

namespace syncdr::core {

/// Runs body and returns the process's exit code: what body returns, or the code of the core::Error it throws, whose message goes to standard
/// error. Out of memory is 74 (the machine refused, the run may be right), any other exception 70 with a request to report it.
int run_main(const std::function<int()>& body) noexcept;

}  // namespace syncdr::core
