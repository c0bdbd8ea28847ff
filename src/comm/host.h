#pragma once
#include <string>

/// What a rank asks its host. Private to comm.
namespace syncdr::comm {

/// Where other hosts reach this one: SYNCDR_STORE_HOST if set, else the host name's address, or that of the first network interface which is up
/// where the name leads back to the loopback (as on Debian). Throws IoError if there is none.
std::string reachable_address();

/// For one of `sharers` ranks on the cores in this process's affinity mask: an equal share, at least 1.
int share_of_cores(int sharers);
/// OMP_NUM_THREADS if set, else that share.
int compute_threads(int sharers);

/// For a rank that ends its job. On a host whose link is cut mpirun's daemon would wait for mpirun for ever (what it has to say is under way, and TCP tries
/// for 15 minutes): a small process sees to it that the daemon is gone some seconds later. Where mpirun can be reached it goes by itself, sooner (4.1.4:
/// after 3.1 s). If not, mpirun would take it for lost and the job's code for 75, so what ends with another code has more time.
void end_daemon_later(int code);
/// Ends this process at once, without MPI.
[[noreturn]] void leave(int code);

}  // namespace syncdr::comm
