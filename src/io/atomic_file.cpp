#include "syncdr/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "syncdr/core/error.h"
#include "syncdr/core/fault.h"
#include "syncdr/io/file.h"

namespace syncdr::io {
namespace fs = std::filesystem;
namespace {

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

void fill(const AtomicFile& file, std::string_view content) {
  OutputFile out(file.temporary());
  out.write(content);
  out.close();
}

void move_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw core::IoError("{}: cannot be renamed to {}: {}", from.string(), to.string(), error.message());
}

}  // namespace

AtomicFile::AtomicFile(fs::path path, const std::string& token) : path_(std::move(path)), temporary_(path_) {
  temporary_ += token.empty() ? ".tmp" : "." + token + ".tmp";
  make_folder(folder_of(path_));
  std::error_code error;
  fs::remove(temporary_, error);
  if (error) throw core::IoError("{}: the left-over of an earlier run cannot be removed: {}", temporary_.string(), error.message());
}

AtomicFile::~AtomicFile() {
  std::error_code ignored;
  if (!committed_) fs::remove(temporary_, ignored);
}

void AtomicFile::sync() {
  core::fault_point("file.before_fsync", path_.native());
  sync_path(temporary_);  // before the rename, or a power cut may leave the name with no content
  core::fault_point("file.before_rename", path_.native());
}

void AtomicFile::commit() {
  sync();
  move_file(temporary_, path_);
  committed_ = true;
  core::fault_point("file.after_rename", path_.native());
  sync_path(folder_of(path_));
}

bool AtomicFile::commit_unless_there() {
  try {
    sync();
  } catch (const core::IoError&) {
    if (!fs::exists(temporary_)) return false;
    throw;
  }
  if (!link_unless_there(temporary_, path_)) return false;
  core::fault_point("file.after_rename", path_.native());
  sync_path(folder_of(path_));
  return true;  // the destructor removes the temporary name
}

bool link_unless_there(const fs::path& temporary, const fs::path& path) {
  // A rename would replace what another process has finished meanwhile; a link does not, on NFS neither.
  if (::link(temporary.c_str(), path.c_str()) == 0) return true;
  if (errno == EEXIST || errno == ENOENT) {
    // NFS may carry out a request whose answer is lost, and answer "exists" to its repetition.
    struct stat status{};
    return ::stat(temporary.c_str(), &status) == 0 && status.st_nlink == 2;
  }
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
    throw core::IoError("{}: cannot be linked to {}: {}", temporary.string(), path.string(), reason());
  if (fs::exists(path)) return false;  // a file system without links: as near as it can be had
  move_file(temporary, path);
  return true;
}

void write_file(const fs::path& path, std::string_view content, const std::string& token) {
  AtomicFile file(path, token);
  fill(file, content);
  file.commit();
}

bool write_new_file(const fs::path& path, std::string_view content, const std::string& token) {
  AtomicFile file(path, token);
  fill(file, content);
  return file.commit_unless_there();
}

std::string read_file(const fs::path& path, uint64_t max_bytes) {
  const InputFile file(path);
  if (file.size() > max_bytes) throw core::DataError("{}: has {} bytes, at most {} are read", path.string(), file.size(), max_bytes);
  std::string content(file.size(), '\0');
  file.read_at(0, {reinterpret_cast<uint8_t*>(content.data()), content.size()});
  return content;
}

void sync_path(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw core::IoError("{}: cannot be opened to make it durable: {}", path.string(), reason());
  const bool synced = ::fsync(descriptor) == 0;
  const std::string why = synced ? "" : reason();
  ::close(descriptor);
  if (!synced) throw core::IoError("{}: fsync failed: {}", path.string(), why);
}

fs::path path_inside(const fs::path& root, const std::string& relative, const std::string& where) {
  const fs::path path(relative);
  if (relative.empty()) throw core::DataError("{}: a path is empty", where);
  if (relative.find('\0') != std::string::npos) throw core::DataError("{}: a path holds a zero byte", where);
  if (path.is_absolute()) throw core::DataError("{}: \"{}\" is an absolute path; paths are relative to {}", where, relative, root.string());
  for (const fs::path& part : path) {
    if (part == "..") throw core::DataError("{}: \"{}\" leaves its folder {} through \"..\"", where, relative, root.string());
  }
  return root / path.lexically_normal();
}

}  // namespace syncdr::io
