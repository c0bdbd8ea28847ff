#include <boost/json.hpp>

#include "shard_layout.h"
#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/data/shard.h"
#include "syncdr/io/file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"
#include "syncdr/io/json.h"

namespace syncdr::data {

/// Everything but the images themselves, in memory: HDF5 is closed once the shard is open, and images are read by position, from any thread.
struct ShardReader::State {
  explicit State(std::filesystem::path path) : file(std::move(path)) {
    const io::Hdf5Reader hdf5(file.path());
    read_header(hdf5);
    read_rows(hdf5);
    if (hdf5.has("/source") || hdf5.has("/translation")) read_sources(hdf5);
  }

  io::InputFile file;
  ShardHeader header;
  io::Extent extent;
  std::vector<uint64_t> offsets;
  std::vector<uint32_t> checksums;
  std::vector<std::string> keys;
  std::vector<int32_t> labels;
  std::vector<SourceRow> sources;
  bool translation = false;

  std::string name() const { return file.path().string(); }
  size_t rows() const { return keys.size(); }
  size_t checked(int64_t row) const;
  void read_header(const io::Hdf5Reader& hdf5);
  void read_rows(const io::Hdf5Reader& hdf5);
  void read_sources(const io::Hdf5Reader& hdf5);
  void check_length(size_t length, const char* dataset) const;
};

size_t ShardReader::State::checked(int64_t row) const {
  SYNCDR_ASSERT(row >= 0 && std::cmp_less(row, rows()), "{}: row {} of {}", name(), row, rows());
  return static_cast<size_t>(row);
}

void ShardReader::State::check_length(size_t length, const char* dataset) const {
  if (length != rows()) throw core::DataError("{}: {} has {} rows, {} has {}", name(), dataset, length, layout::key, rows());
}

void ShardReader::State::read_header(const io::Hdf5Reader& hdf5) {
  if (!hdf5.has_attribute("format") || hdf5.string_attribute("format") != layout::format) throw core::DataError("{}: is no shard of syncdr", name());
  const int64_t version = hdf5.int_attribute("version");
  if (version != shard_version) throw core::DataError("{}: has format version {}, this release reads {}. Pack it again.", name(), version, shard_version);
  header.domain = hdf5.string_attribute("domain");
  header.split = hdf5.string_attribute("split");
  try {
    header.codec = codec_from_name(hdf5.string_attribute("codec"));
  } catch (const core::DataError& error) {
    throw core::DataError("{}: {}", name(), error.what());
  }
  header.height = hdf5.int_attribute("height");
  header.width = hdf5.int_attribute("width");
  layout::check_header(header, name());
  const std::string where = name() + ": attribute provenance";
  const boost::json::value provenance = io::parse_json(hdf5.string_attribute("provenance"), where);
  for (const auto& item : io::as_object(provenance, where)) {
    const std::string key(item.key());
    header.provenance[key] = io::json_string(provenance.get_object(), key.c_str(), where);
  }
}

void ShardReader::State::read_rows(const io::Hdf5Reader& hdf5) {
  keys = hdf5.read_strings(layout::key);
  labels = hdf5.read_i32(layout::label);
  checksums = hdf5.read_u32(layout::crc32c);
  offsets = hdf5.read_u64(layout::offset);
  check_length(labels.size(), layout::label);
  check_length(checksums.size(), layout::crc32c);
  if (offsets.size() != rows() + 1) throw core::DataError("{}: {} has {} entries, {} rows need one more", name(), layout::offset, offsets.size(), rows());
  if (hdf5.length(layout::image) != offsets.back()) {
    throw core::DataError("{}: {} has {} bytes, the last offset is {}", name(), layout::image, hdf5.length(layout::image), offsets.back());
  }
  if (offsets.front() != 0) throw core::DataError("{}: {} does not begin with 0", name(), layout::offset);
  for (size_t row = 0; row < rows(); ++row) {
    if (offsets[row] > offsets[row + 1]) throw core::DataError("{}: row {}: offsets fall from {} to {}", name(), row, offsets[row], offsets[row + 1]);
  }
  extent = hdf5.extent(layout::image);
}

void ShardReader::State::read_sources(const io::Hdf5Reader& hdf5) {
  translation = true;
  const auto key = hdf5.read_strings(layout::source_key);
  const auto shard = hdf5.read_i32(layout::source_shard), prompt = hdf5.read_i32(layout::prompt);
  const auto prompts = hdf5.read_strings(layout::prompts);
  const auto variant = hdf5.read_i32(layout::variant), status = hdf5.read_i32(layout::status);
  const auto row = hdf5.read_i64(layout::source_row), seed = hdf5.read_i64(layout::seed);
  check_length(key.size(), layout::source_key);
  check_length(shard.size(), layout::source_shard);
  check_length(row.size(), layout::source_row);
  check_length(prompt.size(), layout::prompt);
  check_length(variant.size(), layout::variant);
  check_length(seed.size(), layout::seed);
  check_length(status.size(), layout::status);
  for (size_t i = 0; i < rows(); ++i) {
    if (prompt[i] < -1 || std::cmp_greater_equal(prompt[i], prompts.size()))
      throw core::DataError("{}: row {}: prompt {} of {} cannot be", name(), i, prompt[i], prompts.size());
    sources.push_back({key[i], shard[i], row[i], prompt[i] < 0 ? "" : prompts[static_cast<size_t>(prompt[i])], variant[i], seed[i], status[i]});
    layout::check_source(sources.back(), i, name());
  }
}

ShardReader::ShardReader(std::filesystem::path path) : state_(std::make_unique<State>(std::move(path))) {
  layout::check_keys(state_->keys, state_->translation, state_->name());
}

ShardReader::~ShardReader() = default;
ShardReader::ShardReader(ShardReader&&) noexcept = default;

const std::filesystem::path& ShardReader::path() const { return state_->file.path(); }
const ShardHeader& ShardReader::header() const { return state_->header; }
int64_t ShardReader::rows() const { return static_cast<int64_t>(state_->rows()); }
const std::string& ShardReader::key(int64_t row) const { return state_->keys[state_->checked(row)]; }
int32_t ShardReader::label(int64_t row) const { return state_->labels[state_->checked(row)]; }
bool ShardReader::is_translation() const { return state_->translation; }

const SourceRow& ShardReader::source(int64_t row) const {
  SYNCDR_ASSERT(state_->translation, "{} is no translation", state_->name());
  return state_->sources[state_->checked(row)];
}

std::vector<uint8_t> ShardReader::encoded(int64_t row) const {
  const State& state = *state_;
  const size_t i = state.checked(row);
  std::vector<uint8_t> bytes(state.offsets[i + 1] - state.offsets[i]);  // within the extent, which lies in the file: checked when it was opened
  state.file.read_at(state.extent.offset + state.offsets[i], bytes);
  if (io::crc32c(bytes) != state.checksums[i]) {
    throw core::DataError("{}: row {} (\"{}\"): its bytes do not match their checksum. The file was damaged; pack or translate it again.", state.name(), row,
                          state.keys[i]);
  }
  return bytes;
}

Image ShardReader::image(int64_t row, int64_t at_least) const {
  const std::vector<uint8_t> bytes = encoded(row);
  const ShardHeader& header = state_->header;
  const bool sized = header.height > 0;
  try {
    if (sized && header.codec != Codec::raw) {
      const ImageSize size = peek_size(bytes, header.codec);
      if (size.height != header.height || size.width != header.width) {
        throw core::DataError("has {}x{} pixels, the shard's images have {}x{}", size.width, size.height, header.width, header.height);
      }
    }
    return decode(bytes, header.codec, {header.height, header.width}, at_least);
  } catch (const core::DataError& error) {
    throw core::DataError("{}: row {} (\"{}\"): {}. Remove or replace the source image and pack again.", state_->name(), row, key(row), error.what());
  }
}

void ShardReader::verify() const {
  for (int64_t row = 0; row < rows(); ++row) image(row);
}

}  // namespace syncdr::data
