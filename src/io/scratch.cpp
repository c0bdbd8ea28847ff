#include "syncdr/io/scratch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <string>

#include "syncdr/core/log.h"
#include "syncdr/io/file.h"

namespace syncdr::io {
namespace {

namespace fs = std::filesystem;

/// A file that has lost its name and keeps its room for as long as it is open or mapped.
class NamelessFile {
 public:
  NamelessFile(const fs::path& folder, size_t bytes) {
    std::string name = (folder / "syncdr-XXXXXX").string();
    descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (descriptor_ < 0) return;
    ::unlink(name.c_str());
    // Pages without room on the disk would kill the process where they are written.
    errno = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(bytes));
    reserved_ = errno == 0;
  }
  ~NamelessFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  NamelessFile(const NamelessFile&) = delete;
  NamelessFile& operator=(const NamelessFile&) = delete;

  /// Its bytes, null where something refuses them: errno says what.
  void* map(size_t bytes) const {
    if (!reserved_) return nullptr;
    void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
    return pages == MAP_FAILED ? nullptr : pages;
  }

 private:
  int descriptor_ = -1;
  bool reserved_ = false;
};

}  // namespace

at::Tensor scratch_tensor(at::IntArrayRef shape, at::TensorOptions options, int64_t in_memory) {
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(shape)) * options.dtype().itemsize();
  if (bytes == 0 || static_cast<int64_t>(bytes) < in_memory) return at::empty(shape, options);
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);  // an error if TMPDIR names what is no folder
  void* const pages = error ? nullptr : NamelessFile(folder, bytes).map(bytes);
  if (!pages) {
    static std::atomic<bool> said = false;
    if (!said.exchange(true))
      core::warn("no temporary file of {} MB in {}: {}. Features stay in memory. TMPDIR names another folder", bytes >> 20, error ? "TMPDIR" : folder.string(),
                 error ? error.message() : reason());
    return at::empty(shape, options);
  }
  return at::from_blob(pages, shape, [bytes](void* start) { ::munmap(start, bytes); }, options);
}

}  // namespace syncdr::io
