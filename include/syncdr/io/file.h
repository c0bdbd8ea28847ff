#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Files by their descriptor: whole reads and writes, every short count an error.
namespace syncdr::io {

/// What the last system call that failed says of it: the text of errno, "No space left on device".
std::string reason();
/// Makes a folder and those above it where they are missing. Throws IoError.
void make_folder(const std::filesystem::path& path);
/// The names of all that lies in a folder. Throws IoError if it cannot be listed.
std::vector<std::string> names_in(const std::filesystem::path& folder);

/// A file open for reading at any place, from several threads. It is read with pread, not mapped: a mapped file that is cut short under a running
/// process kills it with SIGBUS, a short pread is an error with a message.
class InputFile {
 public:
  /// Throws DataError if the file is missing, unreadable or no regular file; IoError if the system refuses for another reason (too many open files).
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return size_; }  ///< when it was opened
  /// Fills `into` from byte offset on. Throws DataError if the file ends before that, IoError if the system refuses.
  void read_at(uint64_t offset, std::span<uint8_t> into) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

/// Writes all bytes at byte offset of a file that is open as descriptor. Throws IoError naming path.
void write_at(int descriptor, uint64_t offset, std::span<const uint8_t> bytes, const std::filesystem::path& path);

/// A file written from its start, truncating what was there. Throws IoError when the system refuses. It is not synced: AtomicFile::commit does that.
class OutputFile {
 public:
  explicit OutputFile(std::filesystem::path path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const uint8_t> bytes);
  void write(std::string_view text) { write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size())); }
  void close();  ///< some file systems report a full disk only here

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace syncdr::io
