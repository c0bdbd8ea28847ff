#pragma once
#include <map>
#include <string>

#include "syncdr/io/file.h"

namespace syncdr::io {

/// A file within a zip archive: a range of the archive's bytes.
struct ZipEntry {
  uint64_t offset, size;
  uint32_t crc32;  ///< 0 also if it was never computed (torch.serialization.set_crc32_options(False))
  bool compressed;
};

/// The directory of a zip archive, zip64 too. Throws DataError: no directory (the file was cut short), entries that are encrypted, of one name
/// or beyond the file, more than 256 MiB of names.
std::map<std::string, ZipEntry> read_zip_directory(const InputFile& file);

}  // namespace syncdr::io
