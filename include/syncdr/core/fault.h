#pragma once
#include <string_view>

namespace syncdr::core {

/// A place where tests may end or stop this process: SYNCDR_FAULT="ACTION,POINT,N,RANK,TEXT" does so when the point of this name is passed for the N-th
/// time (1: the first) by this rank (empty: any) about a file whose path holds TEXT (empty: any). ACTION: "kill" is SIGKILL, "stop" SIGSTOP.
/// Without the variable it costs one comparison. A value that cannot be read ends the process with code 2, or a test would pass by chance.
void fault_point(const char* name, std::string_view path = {});

}  // namespace syncdr::core
