#include "tar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <vector>

#include "syncdr/core/error.h"
#include "syncdr/io/file.h"

namespace syncdr::data_tools {
namespace {

constexpr uint64_t block = 512;
constexpr uint64_t max_records = uint64_t{1} << 20;  // of a pax header or a long name

/// The archive, read header by header.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : input_(file) {}

  void members(const std::function<void(const TarMember&)>& take) {
    refuse_compressed();
    while (!at_end()) {
      const uint64_t header = at_;
      const Header found = read_header();
      const uint64_t content = at_;
      if (found.size > input_.size() - content) fail(header, "\"{}\" has {} bytes, the archive ends before", found.name, found.size);
      at_ = content + (found.size + block - 1) / block * block;
      switch (found.kind) {
        case 'x': next_ = records(content, found.size, header); break;
        case 'g': all_ = records(content, found.size, header); break;
        case 'L': next_["path"] = text(content, found.size, header); break;
        case 'K': break;  // the long name of a link's target
        case '0':
        case '\0':
        case '7': take(member(found, content, header)); break;
        case 'S': fail(header, "\"{}\" is sparse, which is not read", found.name);
        default: next_.clear();  // folders, links, devices
      }
    }
  }

 private:
  using Records = std::map<std::string, std::string>;
  struct Header {
    std::string name;
    uint64_t size = 0;
    char kind = '0';
  };

  template <class... Values> [[noreturn]] void fail(uint64_t at, fmt::format_string<Values...> text, Values&&... values) const {
    throw core::DataError("{}: byte {}: {}", input_.path().string(), at, fmt::format(text, std::forward<Values>(values)...));
  }

  void refuse_compressed() const {
    std::array<uint8_t, 4> start{};
    if (input_.size() < block) fail(0, "has {} bytes, which is no tar archive", input_.size());
    input_.read_at(0, start);
    if (start[0] == 0x1F && start[1] == 0x8B) fail(0, "is compressed (gzip). Unpack it: gunzip");
    if (start == std::array<uint8_t, 4>{0x28, 0xB5, 0x2F, 0xFD}) fail(0, "is compressed (zstd). Unpack it: unzstd");
  }

  /// Two blocks of zeros.
  bool at_end() {
    if (input_.size() - std::min(at_, input_.size()) < block)
      fail(std::min(at_, input_.size()), "the archive ends without its end mark: it was cut short. Get it again");
    if (!is_zero(at_)) return false;
    if (input_.size() - at_ < 2 * block || !is_zero(at_ + block)) fail(at_, "the archive ends with half an end mark: it was cut short. Get it again");
    return true;
  }

  bool is_zero(uint64_t at) const {
    std::array<uint8_t, block> bytes{};
    input_.read_at(at, bytes);
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
  }

  Header read_header() {
    std::array<uint8_t, block> bytes{};
    input_.read_at(at_, bytes);
    const auto field = [&](size_t first, size_t length) {
      const std::string_view whole(reinterpret_cast<const char*>(bytes.data()) + first, length);
      return std::string(whole.substr(0, whole.find('\0')));
    };
    uint64_t sum = 0;  // of all bytes, its own field counted as blanks
    for (size_t i = 0; i < block; ++i) sum += i >= 148 && i < 156 ? ' ' : bytes[i];
    if (sum != number(field(148, 8), at_)) fail(at_, "no tar header stands here (its checksum is wrong): the archive is damaged");
    Header header{.name = field(0, 100), .kind = static_cast<char>(bytes[156])};
    if (field(257, 5) == "ustar" && bytes[262] == '\0' && bytes[345] != 0) header.name = field(345, 155) + "/" + header.name;
    header.size = (bytes[124] & 0x80) != 0 ? binary({bytes.begin() + 124, bytes.begin() + 136}) : number(field(124, 12), at_);
    if (next_.contains("size") || all_.contains("size")) header.size = decimal(next_.contains("size") ? next_["size"] : all_["size"]);
    at_ += block;
    return header;
  }

  TarMember member(const Header& header, uint64_t content, uint64_t at) {
    for (const Records* records : {&next_, &all_})
      for (const auto& [name, value] : *records)
        if (name.starts_with("GNU.sparse")) fail(at, "\"{}\" is sparse, which is not read", header.name);
    TarMember member{.name = header.name, .offset = content, .size = header.size};
    if (next_.contains("path")) member.name = next_["path"];
    next_.clear();
    return member;
  }

  std::string text(uint64_t at, uint64_t size, uint64_t header) const {
    if (size > max_records) fail(header, "a name of {} bytes", size);
    std::string text(size, '\0');
    input_.read_at(at, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    return text.substr(0, text.find('\0'));
  }

  /// Lines "LENGTH NAME=VALUE\n", the length of the whole line.
  Records records(uint64_t at, uint64_t size, uint64_t header) const {
    if (size > max_records) fail(header, "a pax header of {} bytes", size);
    std::string all(size, '\0');
    input_.read_at(at, {reinterpret_cast<uint8_t*>(all.data()), all.size()});
    Records records;
    for (std::string_view left = all; !left.empty() && left[0] != '\0';) {
      const size_t blank = left.find(' '), equals = left.find('=');
      uint64_t length = 0;
      const auto [end, error] = std::from_chars(left.data(), left.data() + std::min(blank, left.size()), length);
      if (error != std::errc() || blank == std::string_view::npos || equals == std::string_view::npos || equals < blank || length <= equals ||
          length > left.size() || left[length - 1] != '\n')
        fail(header, "a pax header that is no list of records");
      records[std::string(left.substr(blank + 1, equals - blank - 1))] = std::string(left.substr(equals + 1, length - equals - 2));
      left.remove_prefix(length);
    }
    return records;
  }

  uint64_t number(std::string text, uint64_t at) const {
    text.erase(0, text.find_first_not_of(' '));
    text.resize(text.find_last_not_of(' ') + 1);
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
    if (!text.empty() && (error != std::errc() || end != text.data() + text.size())) fail(at, "\"{}\" is no octal number: the archive is damaged", text);
    return value;
  }

  uint64_t decimal(const std::string& text) const {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) fail(at_, "\"{}\" is no size", text);
    return value;
  }

  /// GNU's sizes of 8 GiB and more: the bytes of a number behind a set bit.
  uint64_t binary(const std::vector<uint8_t>& bytes) const {
    uint64_t value = bytes[0] & 0x7F;
    for (size_t i = 1; i < bytes.size(); ++i) {
      if (value >> 55 != 0) fail(at_, "a size beyond all files");
      value = value << 8 | bytes[i];
    }
    return value;
  }

  io::InputFile input_;
  uint64_t at_ = 0;
  Records next_, all_;
};

}  // namespace

void TarWriter::add(const std::string& name, std::string_view content) {
  SYNCDR_ASSERT(name.size() <= 100 && content.size() < uint64_t{1} << 33, "\"{}\" of {} bytes does not fit a ustar header", name, content.size());
  std::string header(block, '\0');
  const auto put = [&](size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", content.size()));
  put(136, "00000000000");
  put(148, "        ");
  put(156, "0");
  put(257, std::string("ustar\0"
                       "00",
                       8));
  unsigned sum = 0;
  for (const char byte : header) sum += static_cast<unsigned char>(byte);
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  out_.write(header);
  out_.write(content);
  out_.write(std::string((block - content.size() % block) % block, '\0'));
}

void TarWriter::close() {
  out_.write(std::string(2 * block, '\0'));
  out_.close();
}

void read_tar(const std::filesystem::path& file, const std::function<void(const TarMember&)>& take) { Reader(file).members(take); }

}  // namespace syncdr::data_tools
