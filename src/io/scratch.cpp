#include "syncdr/io/scratch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "syncdr/core/error.h"
#include "syncdr/io/file.h"

namespace syncdr::io {
namespace {

namespace fs = std::filesystem;

fs::path folder_of_scratch() {
  std::error_code error;  // TMPDIR may name what is no folder
  const fs::path folder = fs::temp_directory_path(error);
  if (error) throw core::IoError("TMPDIR: {}. It must name a folder with room for temporary files", error.message());
  return folder;
}

/// A file that has lost its name and keeps its room for as long as it is open or mapped.
class NamelessFile {
 public:
  NamelessFile(const fs::path& folder, size_t bytes) {
    std::string name = (folder / "syncdr-XXXXXX").string();
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (descriptor_ < 0) throw core::IoError("{}: no temporary file can be made there: {}. TMPDIR names another folder", folder.string(), reason());
    ::unlink(name.c_str());
    // Pages without room on the disk would kill the process where they are written.
    if (const int error = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes)); error != 0) {
      ::close(descriptor_);
      errno = error;
      throw core::IoError("{}: no room for a temporary file of {} MB: {}. TMPDIR names another folder", folder.string(), bytes >> 20, reason());
    }
  }
  ~NamelessFile() { ::close(descriptor_); }
  NamelessFile(const NamelessFile&) = delete;
  NamelessFile& operator=(const NamelessFile&) = delete;

  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

}  // namespace

at::Tensor scratch_tensor(at::IntArrayRef shape, at::TensorOptions options, int64_t in_memory) {
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(shape)) * options.dtype().itemsize();
  if (bytes == 0 || static_cast<int64_t>(bytes) < in_memory) return at::empty(shape, options);
  const fs::path folder = folder_of_scratch();
  const NamelessFile file(folder, bytes);
  void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor(), 0);
  if (pages == MAP_FAILED) throw core::IoError("{}: a temporary file of {} MB cannot be mapped: {}", folder.string(), bytes >> 20, reason());
  return at::from_blob(pages, shape, [bytes](void* start) { ::munmap(start, bytes); }, options);
}

}  // namespace syncdr::io
