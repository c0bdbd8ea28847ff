#pragma once
#include <string>

namespace syncdr::comm {

/// The MPI library's own first line: "Open MPI v4.1.4, package: ...".
std::string mpi_version();
/// Whether this build holds c10d's NCCL backend.
bool has_nccl();

}  // namespace syncdr::comm
