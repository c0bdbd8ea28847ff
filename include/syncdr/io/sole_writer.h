#pragma once
#include <filesystem>

/// One writer of a folder at a time, among processes of all hosts that share nothing but the file system. The newest has it.
namespace syncdr::io {

/// A job whose host was cut off may go on writing for a while, or much later if it was stopped, when another job has long gone on from what it left. So what
/// it makes must find its place through a desk: a folder of the writer's own, which the next writer removes. From then on nothing from there can be
/// sealed, and nothing that others have sealed can be replaced or removed: a rename out of a folder that is gone fails, on NFS too.
class SoleWriter {
 public:
  /// Takes the folder over (made if it is missing): removes the desks of others, and all else in it that is called *.tmp.
  explicit SoleWriter(std::filesystem::path folder);
  /// Removes the desk.
  ~SoleWriter();
  SoleWriter(const SoleWriter&) = delete;
  SoleWriter& operator=(const SoleWriter&) = delete;

  const std::filesystem::path& desk() const { return desk_; }  ///< FOLDER/TOKEN.tmp
  /// Gives DESK/name, which is durable, its place: that of a file, which it replaces, or of a folder that is not there. Durable when it returns.
  /// Throws UsageError if another process has taken the folder over.
  void seal(const std::filesystem::path& name, const std::filesystem::path& place) const;
  /// The same for every file below DESK/name: it goes to its relative path below `place`.
  void seal_files(const std::filesystem::path& name, const std::filesystem::path& place) const;
  /// Removes a file or folder that was sealed: out of sight at once. Throws as seal does.
  void remove(const std::filesystem::path& path) const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  std::filesystem::path folder_, desk_;
  int handle_ = -1;  ///< of the desk as it was made: one that is made again under its name is another
};

}  // namespace syncdr::io
