#include "shard_layout.h"

#include <string_view>
#include <unordered_set>

#include "syncdr/core/error.h"

namespace syncdr::data::layout {

void check_header(const ShardHeader& header, const std::string& where) {
  if (header.domain.empty() || header.split.empty()) throw core::DataError("{}: domain or split has no name", where);
  if ((header.height == 0) != (header.width == 0) || header.height < 0 || header.width < 0 ||
      (header.height > 0 && header.width > max_image_pixels / header.height)) {
    throw core::DataError("{}: {}x{} pixels are no size of images", where, header.width, header.height);
  }
  if (header.codec == Codec::raw && header.height == 0) throw core::DataError("{}: raw images must all have the size that the header states", where);
}

void check_keys(const std::vector<std::string>& keys, bool translation, const std::string& where) {
  std::unordered_set<std::string_view> seen;
  for (size_t row = 0; row < keys.size(); ++row) {
    if (keys[row].empty()) throw core::DataError("{}: row {}: the key is empty", where, row);
    if (!translation && !seen.insert(keys[row]).second) throw core::DataError("{}: row {}: the key \"{}\" occurs twice", where, row, keys[row]);
  }
}

void check_source(const SourceRow& source, size_t row, const std::string& where) {
  if (source.shard < 0 || source.row < 0 || source.status < 0 || source.status > 2) {
    throw core::DataError("{}: row {}: source shard {}, row {}, status {} cannot be", where, row, source.shard, source.row, source.status);
  }
}

}  // namespace syncdr::data::layout
