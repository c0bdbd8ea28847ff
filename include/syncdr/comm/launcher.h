#pragma once

namespace syncdr::comm {

/// Whether mpirun, or srun with PMI, has started this process as a rank. MPI need not be started for the answer.
bool started_as_rank();

}  // namespace syncdr::comm
