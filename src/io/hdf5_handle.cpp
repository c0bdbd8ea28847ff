#include "hdf5_handle.h"

namespace syncdr::io::detail {
namespace {

std::recursive_mutex& library_lock() {
  // Never destroyed: static objects of other files may close HDF5 files after this one would be gone.
  static auto* lock = new std::recursive_mutex;
  return *lock;
}

herr_t keep_first(unsigned, const H5E_error2_t* entry, void* text) {
  auto& reason = *static_cast<std::string*>(text);
  if (reason.empty() && entry->desc && *entry->desc) reason = entry->desc;
  return 0;
}

}  // namespace

Hdf5Guard::Hdf5Guard() : lock_(library_lock()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

std::string hdf5_reason() {
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &reason);  // upward: from the innermost function
  return reason.empty() ? "HDF5 gives no reason" : "HDF5 says: " + reason;
}

}  // namespace syncdr::io::detail
