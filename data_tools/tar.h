#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "syncdr/io/file.h"

namespace syncdr::data_tools {

/// A file within a tar archive.
struct TarMember {
  std::string name;
  uint64_t offset = 0, size = 0;  ///< of its content within the archive
};

/// Calls take for the regular files of an archive, in its order: POSIX ustar and pax, and GNU's long names. Folders and links are passed over.
///
/// The mark at an archive's end is required: without it a shard that was cut between two members reads as a shorter one. Throws DataError naming file and
/// byte: a header whose checksum is wrong, a member that reaches beyond the end, sparse members, no end mark, a compressed archive.
void read_tar(const std::filesystem::path& file, const std::function<void(const TarMember&)>& take);

/// Writes an archive (POSIX ustar) with its end mark. Equal members give equal bytes: no time, no owner. Names have at most 100 bytes.
class TarWriter {
 public:
  explicit TarWriter(const std::filesystem::path& file) : out_(file) {}
  void add(const std::string& name, std::string_view content);
  void close();

 private:
  io::OutputFile out_;
};

}  // namespace syncdr::data_tools
