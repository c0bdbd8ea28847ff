#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "syncdr/core/error.h"

/// What the targets share. A target gives hostile bytes to a reader, which may refuse them with an error of the user's: a DataError or UsageError. Any other
/// exception, a broken invariant, and what the sanitizers find end the process.
namespace syncdr::fuzz {

/// False: the reader refused.
inline bool accepts(const std::function<void()>& read) {
  try {
    read();
    return true;
  } catch (const core::DataError&) {
  } catch (const core::UsageError&) {
  }
  return false;
}

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fputs(what, stderr);
  std::abort();
}

/// A file in memory, for readers that want a path.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("input", 0)) { require(descriptor_ >= 0, "memfd_create failed\n"); }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
  const MemoryFile& with(std::span<const uint8_t> bytes) {
    require(::ftruncate(descriptor_, 0) == 0 && ::pwrite(descriptor_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "no memory\n");
    return *this;
  }

 private:
  int descriptor_;
};

/// A folder of files for all inputs, removed at the end.
class Folder {
 public:
  explicit Folder(const std::function<void(const std::filesystem::path&)>& fill) {
    std::string pattern = std::filesystem::temp_directory_path() / "syncdr-fuzz-XXXXXX";
    require(::mkdtemp(pattern.data()) != nullptr, "mkdtemp failed\n");
    path_ = pattern;
    fill(path_);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Bytes that are taken off one by one; behind their end all is 0.
class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }
  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const uint8_t first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }
  size_t below(size_t count) { return byte() % count; }
  int64_t number() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return static_cast<int64_t>(value);
  }
  std::string text(size_t length) {
    length = std::min(length, bytes_.size());
    const std::string text(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(length));
    bytes_ = bytes_.subspan(length);
    return text;
  }
  std::string rest() { return text(bytes_.size()); }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace syncdr::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
