#pragma once
#include <hdf5.h>

#include <mutex>
#include <string>
#include <utility>

/// What hdf5_writer.cpp and hdf5_reader.cpp share: handles that close themselves, the library's lock, its error text.
namespace syncdr::io::detail {

/// HDF5's own build may or may not be thread-safe: holding this makes it so. Recursive, and it stops HDF5 from printing its error stack (a setting
/// of each thread).
class Hdf5Guard {
 public:
  Hdf5Guard();

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

/// What the innermost entry of this thread's HDF5 error stack says, e.g. "file signature not found".
std::string hdf5_reason();

/// An identifier and the function that closes it.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close function) : id_(id), close_(function) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (valid()) close_(id_);
  }
  bool valid() const { return id_ >= 0; }
  operator hid_t() const { return id_; }
  /// Closes now; false if HDF5 refuses.
  bool close() { return close_(std::exchange(id_, H5I_INVALID_HID)) >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

}  // namespace syncdr::io::detail
