#pragma once
#include <string>

/// Stopping on request: a scheduler's signal sets a flag, and work ends at the next place where its state can be saved.
namespace syncdr::core {

/// Catches TERM and the named signal ("USR2"; "none" for TERM alone). Call it before MPI starts. Throws UsageError on an unknown name.
void watch_stop_signals(const std::string& signal = "USR2");

/// True once a signal has come. Costs one atomic load.
bool stop_requested();

}  // namespace syncdr::core
