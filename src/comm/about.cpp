#include "syncdr/comm/about.h"

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
#ifdef SYNCDR_HAS_NCCL
  return true;
#else
  return false;
#endif
}

}  // namespace syncdr::comm
