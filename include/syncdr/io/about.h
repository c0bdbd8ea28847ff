#pragma once
#include <string>

namespace syncdr::io {

/// The HDF5 library that is linked at run time, "1.10.8".
std::string hdf5_version();

}  // namespace syncdr::io
