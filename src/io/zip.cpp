#include "zip.h"

#include <algorithm>

#include "syncdr/core/error.h"

/// The directory of zip archives after PKWARE's APPNOTE.TXT 6.3, as far as archives that are not compressed, encrypted or split need it.
namespace syncdr::io {
namespace {

constexpr uint64_t max_directory = uint64_t{256} << 20;
constexpr uint64_t in_zip64 = 0xFFFFFFFF;  // the field's value stands in the zip64 record

/// A record of the archive; fields are little-endian.
struct Record {
  std::vector<uint8_t> bytes;

  uint64_t field(size_t at, size_t size) const {
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= uint64_t{bytes.at(at + i)} << (8 * i);
    return value;
  }
  bool begins_with(uint32_t signature) const { return bytes.size() >= 4 && field(0, 4) == signature; }
};

class Reader {
 public:
  explicit Reader(const InputFile& file) : file_(file) {}

  std::map<std::string, ZipEntry> read() {
    find_directory();
    const Record directory = record(begin_, size_);
    size_t at = 0;
    for (uint64_t i = 0; i < count_; ++i) at = read_entry(directory, at);
    return std::move(entries_);
  }

 private:
  template <class... Args> [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw core::DataError("{}: the zip archive cannot be read: {}", file_.path().string(), fmt::format(format, std::forward<Args>(args)...));
  }

  Record record(uint64_t offset, uint64_t size) const {
    if (offset > file_.size() || size > file_.size() - offset) fail("{} bytes from byte {} on pass its end. It was cut short: get it again.", size, offset);
    Record result{std::vector<uint8_t>(size)};
    file_.read_at(offset, result.bytes);
    return result;
  }

  /// The end record is the last 22 bytes and a comment of at most 64 KiB.
  void find_directory() {
    const uint64_t tail_size = std::min<uint64_t>(file_.size(), 22 + 0xFFFF), tail_begin = file_.size() - tail_size;
    const Record tail = record(tail_begin, tail_size);
    for (size_t at = tail_size < 22 ? 0 : tail_size - 21; at-- > 0;) {
      if (tail.field(at, 4) != 0x06054b50 || at + 22 + tail.field(at + 20, 2) != tail_size) continue;
      count_ = tail.field(at + 10, 2), size_ = tail.field(at + 12, 4), begin_ = tail.field(at + 16, 4);
      if (at >= 20 && tail.field(at - 20, 4) == 0x07064b50) read_zip64(tail.field(at - 12, 8));
      if (size_ > max_directory) fail("its directory has {} bytes, at most {} are read", size_, max_directory);
      return;
    }
    fail("its directory, which stands at the end, is missing. It was cut short: get it again.");
  }

  void read_zip64(uint64_t offset) {
    const Record end = record(offset, 56);
    if (!end.begins_with(0x06064b50)) fail("its zip64 record is broken. Get it again.");
    count_ = end.field(32, 8), size_ = end.field(40, 8), begin_ = end.field(48, 8);
  }

  /// Reads the entry at a byte of the directory; returns the byte behind it.
  size_t read_entry(const Record& directory, size_t at) {
    const size_t left = directory.bytes.size() - at;
    if (left < 46 || directory.field(at, 4) != 0x02014b50) fail("its directory is broken. Get it again.");
    const size_t name_size = directory.field(at + 28, 2), extra_size = directory.field(at + 30, 2), comment_size = directory.field(at + 32, 2);
    if (left < 46 + name_size + extra_size + comment_size) fail("its directory is broken. Get it again.");
    const std::string name(directory.bytes.begin() + static_cast<std::ptrdiff_t>(at + 46),
                           directory.bytes.begin() + static_cast<std::ptrdiff_t>(at + 46 + name_size));
    uint64_t size = directory.field(at + 24, 4), packed = directory.field(at + 20, 4), header = directory.field(at + 42, 4);
    read_wide_fields(directory, at + 46 + name_size, extra_size, {&size, &packed, &header});
    if ((directory.field(at + 8, 2) & 1) != 0) fail("\"{}\" is encrypted", name);
    const bool compressed = directory.field(at + 10, 2) != 0 || packed != size;
    const ZipEntry entry{data_offset(header, name), packed, static_cast<uint32_t>(directory.field(at + 16, 4)), compressed};
    if (entry.offset > file_.size() || packed > file_.size() - entry.offset) fail("\"{}\" passes its end. It was cut short: get it again.", name);
    if (!entries_.emplace(name, entry).second) fail("\"{}\" occurs twice", name);
    return at + 46 + name_size + extra_size + comment_size;
  }

  /// Fields that do not fit into 32 bits stand in the extra field 1, in this order, as many as there are.
  void read_wide_fields(const Record& directory, size_t at, size_t extra_size, std::initializer_list<uint64_t*> fields) {
    for (const size_t end = at + extra_size; at + 4 <= end;) {
      const size_t size = directory.field(at + 2, 2), next = at + 4 + size;
      if (next > end) return;
      if (directory.field(at, 2) == 1) {
        at += 4;
        for (uint64_t* field : fields) {
          if (*field != in_zip64 || at + 8 > next) continue;
          *field = directory.field(at, 8);
          at += 8;
        }
        return;
      }
      at = next;
    }
  }

  /// Data follow the entry's own header, whose name and extra field may be longer than the directory's.
  uint64_t data_offset(uint64_t header_offset, const std::string& name) const {
    const Record header = record(header_offset, 30);
    if (!header.begins_with(0x04034b50)) fail("the header of \"{}\" is broken. Get it again.", name);
    return header_offset + 30 + header.field(26, 2) + header.field(28, 2);
  }

  const InputFile& file_;
  uint64_t count_ = 0, size_ = 0, begin_ = 0;
  std::map<std::string, ZipEntry> entries_;
};

}  // namespace

std::map<std::string, ZipEntry> read_zip_directory(const InputFile& file) { return Reader(file).read(); }

}  // namespace syncdr::io
