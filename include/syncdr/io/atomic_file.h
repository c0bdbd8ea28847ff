#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

/// Files that are complete or absent. All functions throw IoError with the path and the system's reason.
namespace syncdr::io {

/// A file written under a temporary name beside its own. commit() makes it durable and visible; without it nothing remains.
///
///     AtomicFile file("unit-3.h5");
///     write(file.temporary());
///     verify(file.temporary());
///     file.commit();   // fsync, rename, fsync of the folder
class AtomicFile {
 public:
  /// Creates the parent folder if it is missing. Where several processes may write the same file, each names its temporary by a token of its own
  /// (process_token); without one a left-over temporary of an earlier, killed run is removed.
  explicit AtomicFile(std::filesystem::path path, const std::string& token = {});
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }  ///< PATH.tmp or PATH.TOKEN.tmp
  void commit();
  /// commit(), but a file that is there already stays as it is; atomic among processes of all hosts. False: nothing remains of this one, because
  /// another is there, or because somebody has removed the temporary.
  bool commit_unless_there();

 private:
  void sync();
  std::filesystem::path path_, temporary_;
  bool committed_ = false;
};

/// Gives a finished file its name, unless one of that name is there: false. So it is among processes of all hosts, but on file systems without links,
/// where two in the same instant may both succeed. The temporary name may stay.
bool link_unless_there(const std::filesystem::path& temporary, const std::filesystem::path& path);
/// The whole content, atomically.
void write_file(const std::filesystem::path& path, std::string_view content, const std::string& token = {});
/// The same, unless the file is there: false.
bool write_new_file(const std::filesystem::path& path, std::string_view content, const std::string& token);
/// The whole content. Throws DataError if the file is missing or larger than max_bytes.
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 30);
/// Makes a file's content, or a folder's list of names, durable.
void sync_path(const std::filesystem::path& path);
/// root / relative, for a relative path that comes from a file. Throws DataError naming `where` if it is absolute, empty or leaves root through "..".
std::filesystem::path path_inside(const std::filesystem::path& root, const std::string& relative, const std::string& where);

}  // namespace syncdr::io
