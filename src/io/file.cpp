#include "syncdr/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"

namespace syncdr::io {
namespace {

// One call moves at most this much: Linux cuts larger reads and writes at 2 GiB - 4 KiB.
constexpr size_t piece = size_t{1} << 30;

// write_some(part) writes some of it, as write() does.
template <class Write> void write_all(std::span<const uint8_t> bytes, const std::filesystem::path& path, Write write_some) {
  while (!bytes.empty()) {
    const ssize_t count = write_some(bytes.first(std::min(bytes.size(), piece)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw core::IoError("{}: writing failed: {}", path.string(), reason());
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

}  // namespace

std::string reason() { return std::generic_category().message(errno); }

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw core::IoError("{}: the folder cannot be made: {}", path.string(), error.message());
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  if (error) throw core::IoError("{}: cannot be listed: {}", folder.string(), error.message());
  return names;
}

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a pipe by mistake must not wait for a writer. It has no effect on regular files.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0 && (errno == EMFILE || errno == ENFILE || errno == EIO || errno == ESTALE || errno == ENOMEM))
    throw core::IoError("{}: cannot be opened: {}", path_.string(), reason());  // which says nothing about the file
  if (descriptor_ < 0) throw core::DataError("{}: cannot be opened: {}", path_.string(), reason());
  struct stat status{};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (!known || !S_ISREG(status.st_mode)) {
    ::close(std::exchange(descriptor_, -1));
    throw core::DataError("{}: is no regular file", path_.string());
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::InputFile(InputFile&& other) noexcept : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void InputFile::read_at(uint64_t offset, std::span<uint8_t> into) const {
  core::checked_cast<off_t>(core::checked_add<uint64_t>(offset, into.size(), "file offset"), "file offset");
  while (!into.empty()) {
    const ssize_t count = ::pread(descriptor_, into.data(), std::min(into.size(), piece), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw core::IoError("{}: reading at byte {} failed: {}", path_.string(), offset, reason());
    if (count == 0) throw core::DataError("{}: the file ends at byte {}, {} more were expected. It was cut short.", path_.string(), offset, into.size());
    into = into.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
}

void write_at(int descriptor, uint64_t offset, std::span<const uint8_t> bytes, const std::filesystem::path& path) {
  write_all(bytes, path, [&](std::span<const uint8_t> part) {
    const ssize_t count = ::pwrite(descriptor, part.data(), part.size(), static_cast<off_t>(offset));
    if (count > 0) offset += static_cast<uint64_t>(count);
    return count;
  });
}

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw core::IoError("{}: cannot be created: {}", path_.string(), reason());
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::span<const uint8_t> bytes) {
  write_all(bytes, path_, [&](std::span<const uint8_t> part) { return ::write(descriptor_, part.data(), part.size()); });
}

void OutputFile::close() {
  if (::close(std::exchange(descriptor_, -1)) != 0) throw core::IoError("{}: closing failed: {}", path_.string(), reason());
}

}  // namespace syncdr::io
