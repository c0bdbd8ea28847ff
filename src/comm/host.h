#pragma once
#include <cstdint>
#include <string>

/// What a rank asks its host. Private to comm.
namespace syncdr::comm {

/// Where other hosts reach this one: SYNCDR_STORE_HOST if set, else the host name's address, or that of the first network interface which is up
/// where the name leads back to the loopback (as on Debian). Throws IoError if there is none.
std::string reachable_address();

/// Compute threads for one of `sharers` ranks on the cores in this process's affinity mask: OMP_NUM_THREADS if set, else an equal share, at least 1.
int share_of_cores(int sharers);

}  // namespace syncdr::comm
