#include "syncdr/io/sole_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "syncdr/core/error.h"
#include "syncdr/core/fault.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/claims.h"
#include "syncdr/io/file.h"

namespace syncdr::io {
namespace fs = std::filesystem;
namespace {

using namespace std::chrono_literals;

/// Its owner may be writing there: again until nothing new comes.
void clear_away(const fs::path& path) {
  std::error_code error;
  for (int tries = 0; tries < 100; ++tries) {
    fs::remove_all(path, error);
    if (!error) return;
    std::this_thread::sleep_for(50ms);
  }
  throw core::IoError("{}: cannot be removed: {}", path.string(), error.message());
}

}  // namespace

SoleWriter::SoleWriter(fs::path folder) : folder_(std::move(folder)) {
  static std::atomic<int> desks{0};
  desk_ = folder_ / fmt::format("{}-{}.tmp", process_token(), ++desks);
  make_folder(desk_);  // before those of others go: of two that begin together at most one stays
  handle_ = ::open(desk_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle_ < 0) throw core::IoError("{}: cannot be opened: {}", desk_.string(), reason());
  for (const auto& name : names_in(folder_))
    if (fs::path(name).extension() == ".tmp" && name != desk_.filename()) clear_away(folder_ / name);
}

SoleWriter::~SoleWriter() {
  ::close(handle_);
  std::error_code ignored;
  fs::remove_all(desk_, ignored);
}

void SoleWriter::fail(const std::string& what) const {
  if (errno == ENOENT || errno == ESTALE)
    throw core::UsageError(
        "{}: another job has taken it over and goes on from what was sealed there, so this one ends. Let one job at a time write to a run's folder",
        folder_.string());
  throw core::IoError("{}: {}", what, reason());
}

void SoleWriter::seal(const fs::path& name, const fs::path& place) const {
  core::fault_point("seal.before_rename", place.native());
  if (::renameat(handle_, name.c_str(), AT_FDCWD, place.c_str()) != 0)
    fail(fmt::format("{}: cannot be renamed to {}", (desk_ / name).string(), place.string()));
  core::fault_point("seal.after_rename", place.native());
  sync_path(place.has_parent_path() ? place.parent_path() : fs::path("."));
}

void SoleWriter::seal_files(const fs::path& name, const fs::path& place) const {
  for (const auto& entry : fs::recursive_directory_iterator(desk_ / name)) {
    const auto relative = entry.path().lexically_relative(desk_ / name);
    if (entry.is_directory()) {
      make_folder(place / relative);
    } else {
      seal(name / relative, place / relative);
    }
  }
}

void SoleWriter::remove(const fs::path& path) const {
  clear_away(desk_ / "removed");
  if (::renameat(AT_FDCWD, path.c_str(), handle_, "removed") != 0) fail(fmt::format("{}: cannot be removed", path.string()));
  clear_away(desk_ / "removed");
}

}  // namespace syncdr::io
