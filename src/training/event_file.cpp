#include "event_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <system_error>

#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"
#include "syncdr/io/hash.h"

namespace syncdr::training {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr std::string_view prefix = "events.out.tfevents.";

template <class Number> std::string bytes_of(Number number) {
  std::string bytes(sizeof(Number), '\0');
  std::memcpy(bytes.data(), &number, sizeof(Number));
  return bytes;
}

// Protocol buffers: a field is its number and wire type, then a varint (0), eight bytes (1), a length and as many bytes (2), or four bytes (5).
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string field(unsigned number, int64_t value) { return varint(number << 3) + varint(static_cast<uint64_t>(value)); }
std::string field(unsigned number, double value) { return varint(number << 3 | 1) + bytes_of(value); }
std::string field(unsigned number, std::string_view bytes) { return varint(number << 3 | 2) + varint(bytes.size()) + std::string(bytes); }
std::string field(unsigned number, float value) { return varint(number << 3 | 5) + bytes_of(value); }

std::string masked_crc(std::string_view bytes) {
  const uint32_t crc = io::crc32c({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  return bytes_of(std::rotr(crc, 15) + 0xa282ead8u);
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// Above those of all event files in the folder, from 1.
uint64_t next_number(const fs::path& folder) {
  uint64_t next = 1;
  for (const auto& name : io::names_in(folder)) {
    uint64_t number = 0;
    if (name.starts_with(prefix) && std::from_chars(name.data() + prefix.size(), name.data() + name.size(), number).ec == std::errc())
      next = std::max(next, number + 1);
  }
  return next;
}

}  // namespace

std::string version_event(double wall_time) { return field(1, wall_time) + field(3, std::string_view("brain.Event:2")); }

std::string session_start_event(double wall_time, int64_t step) {
  return field(1, wall_time) + field(2, step) + field(7, std::string_view(field(1, int64_t{1})));
}

std::string summary_event(double wall_time, int64_t step, const MetricLog::Values& values) {
  std::string summary;
  for (const auto& [name, value] : values)
    if (std::isfinite(value)) summary += field(1, std::string_view(field(1, std::string_view(name)) + field(2, static_cast<float>(value))));
  return field(1, wall_time) + field(2, step) + field(5, std::string_view(summary));
}

std::string record_of(std::string_view event) {
  const auto length = bytes_of(uint64_t{event.size()});
  return length + masked_crc(length) + std::string(event) + masked_crc(event);
}

EventFile::EventFile(const fs::path& folder, int64_t first_step) {
  file_ = folder / fmt::format("{}{:010}.syncdr", prefix, next_number(folder));
  write(version_event(now()));
  write(session_start_event(now(), first_step));
}

void EventFile::append(int64_t step, const MetricLog::Values& values) { write(summary_event(now(), step, values)); }

void EventFile::sync() const { io::sync_path(file_); }

void EventFile::write(std::string_view event) {
  std::ofstream out(file_, std::ios::app | std::ios::binary);
  out << record_of(event) << std::flush;
  if (!out) throw core::IoError("{}: figures cannot be appended: {}", file_.string(), std::generic_category().message(errno));
}

}  // namespace syncdr::training
