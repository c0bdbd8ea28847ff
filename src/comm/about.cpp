#include "syncdr/comm/about.h"

// Without the C++ bindings that MPI 3 removed: they would need a library of their own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

namespace syncdr::comm {

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string version(text, static_cast<size_t>(length));
  return version.substr(0, version.find_first_of(",\n"));
}

bool has_nccl() {
#ifdef SYNCDR_HAS_CUDA
  return true;
#else
  return false;
#endif
}

}  // namespace syncdr::comm
