#include "syncdr/data/shard.h"

#include <boost/json.hpp>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"
#include "syncdr/io/utf8.h"

namespace syncdr::data {
namespace {

/// Names in a shard; README.md describes them.
namespace layout {

constexpr const char* format = "syncdr-shard";
constexpr const char* created_by = "syncdr 0.1.0";

constexpr const char* image = "/image/data";
constexpr const char* offset = "/image/offset";
constexpr const char* crc32c = "/image/crc32c";
constexpr const char* key = "/key";
constexpr const char* label = "/label";
constexpr const char* source_key = "/source/key";
constexpr const char* source_row = "/source/row";
constexpr const char* source_shard = "/source/shard";
constexpr const char* prompt = "/translation/prompt";
constexpr const char* prompts = "/translation/prompts";
constexpr const char* seed = "/translation/seed";
constexpr const char* variant = "/translation/variant";
constexpr const char* status = "/translation/status";

}  // namespace layout

/// Throws DataError naming `where`: no domain or split, a negative or too large size, raw images without a size.
void check_header(const ShardHeader& header, const std::string& where) {
  if (header.domain.empty() || header.split.empty()) throw core::DataError("{}: domain or split has no name", where);
  if ((header.height == 0) != (header.width == 0) || header.height < 0 || header.width < 0 ||
      (header.height > 0 && header.width > max_image_pixels / header.height)) {
    throw core::DataError("{}: {}x{} pixels are no size of images", where, header.width, header.height);
  }
  if (header.codec == Codec::raw && header.height == 0) throw core::DataError("{}: raw images must all have the size that the header states", where);
}

/// Throws DataError naming `where` if a key is empty, or occurs twice. In a translation a key may occur once a variant, so there only the first holds.
void check_keys(const Texts& keys, bool translation, const std::string& where) {
  std::unordered_set<std::string_view> seen;
  for (size_t row = 0; std::cmp_less(row, keys.size()); ++row) {
    if (keys[row].empty()) throw core::DataError("{}: row {}: the key is empty", where, row);
    if (!translation && !seen.insert(keys[row]).second) throw core::DataError("{}: row {}: the key \"{}\" occurs twice", where, row, keys[row]);
  }
}

/// Throws DataError naming `where` if a key is no UTF-8: other programs could not read it, and no manifest could name it.
void check_texts(const Texts& keys, const std::string& where) {
  for (size_t row = 0; std::cmp_less(row, keys.size()); ++row)
    if (!io::is_utf8(keys[row])) throw core::DataError("{}: row {}: the key is no UTF-8. Rename the image and pack again", where, row);
}

/// Throws DataError naming `where` if the source's place or status cannot be.
void check_source(int64_t source_row, int32_t shard, int32_t status, size_t row, const std::string& where) {
  if (shard < 0 || source_row < 0 || status < 0 || status > 2)
    throw core::DataError("{}: row {}: source shard {}, row {}, status {} cannot be", where, row, shard, source_row, status);
}

/// One member of each item, as the column of a table.
template <class Item, class Value> auto column(const std::vector<Item>& items, Value Item::* member) {
  std::vector<Value> values;
  values.reserve(items.size());
  for (const Item& item : items) values.push_back(item.*member);
  return values;
}

void write_attributes(io::Hdf5Writer& file, const ShardHeader& header) {
  file.attribute("format", std::string(layout::format));
  file.attribute("version", shard_version);
  file.attribute("created_by", std::string(layout::created_by));
  file.attribute("domain", header.domain);
  file.attribute("split", header.split);
  file.attribute("codec", std::string(codec_name(header.codec)));
  file.attribute("height", header.height);
  file.attribute("width", header.width);
  file.attribute("provenance", boost::json::serialize(io::to_json(header.provenance)));
}

void write_rows(io::Hdf5Writer& file, const std::vector<Row>& rows) {
  std::vector<uint64_t> offsets{0};
  std::vector<uint32_t> checksums;
  std::vector<std::span<const uint8_t>> images;
  for (const Row& row : rows) {
    offsets.push_back(offsets.back() + row.encoded.size());
    checksums.push_back(io::crc32c(row.encoded));
    images.emplace_back(row.encoded);
  }
  file.write(layout::offset, offsets);
  file.write(layout::crc32c, checksums);
  file.write_parts(layout::image, images);
  file.write(layout::key, column(rows, &Row::key));
  file.write(layout::label, column(rows, &Row::label));
}

/// Texts once each, in the order of their first rows: most runs have one text for all rows.
void write_prompts(io::Hdf5Writer& file, const std::vector<SourceRow>& sources) {
  std::vector<std::string> texts;
  std::unordered_map<std::string, int32_t> places;
  std::vector<int32_t> indices;
  for (const SourceRow& source : sources) {
    if (!source.prompt.empty() && places.try_emplace(source.prompt, static_cast<int32_t>(texts.size())).second) texts.push_back(source.prompt);
    indices.push_back(source.prompt.empty() ? -1 : places.at(source.prompt));
  }
  file.write(layout::prompt, indices);
  file.write(layout::prompts, texts);
}

void write_sources(io::Hdf5Writer& file, const std::vector<SourceRow>& sources) {
  file.write(layout::source_key, column(sources, &SourceRow::key));
  file.write(layout::source_shard, column(sources, &SourceRow::shard));
  file.write(layout::source_row, column(sources, &SourceRow::row));
  write_prompts(file, sources);
  file.write(layout::variant, column(sources, &SourceRow::variant));
  file.write(layout::seed, column(sources, &SourceRow::seed));
  file.write(layout::status, column(sources, &SourceRow::status));
}

}  // namespace

void ShardWriter::add(Row row) {
  SYNCDR_ASSERT(!with_source_, "a row of a translation comes with its source");
  rows_.push_back(std::move(row));
}

void ShardWriter::add(Row row, SourceRow source) {
  SYNCDR_ASSERT(with_source_, "a row of a real image has no source");
  rows_.push_back(std::move(row));
  sources_.push_back(std::move(source));
}

/// What was written against what is still in memory: a file system that lies is found now, not in a week.
void ShardWriter::check(const ShardReader& reader) const {
  const auto refuse = [&](size_t row) { throw core::IoError("{}: row {} reads back changed. The disk or its driver is faulty.", path_.string(), row); };
  if (reader.rows() != rows() || reader.is_translation() != with_source_) refuse(0);
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (reader.key(row) != rows_[i].key || reader.label(row) != rows_[i].label || reader.encoded(row) != rows_[i].encoded) refuse(i);
    if (with_source_ && reader.source(row) != sources_[i]) refuse(i);
  }
}

void ShardWriter::prepare(const std::filesystem::path& file) {
  SYNCDR_ASSERT(!sealed_, "{} is sealed twice", path_.string());
  check_header(header_, path_.string());
  const Texts keys(column(rows_, &Row::key));
  check_keys(keys, with_source_, path_.string());
  check_texts(keys, path_.string());
  for (size_t row = 0; row < sources_.size(); ++row) check_source(sources_[row].row, sources_[row].shard, sources_[row].status, row, path_.string());
  {
    io::Hdf5Writer writer(file);
    write_attributes(writer, header_);
    write_rows(writer, rows_);
    if (with_source_) write_sources(writer, sources_);
    writer.close();
  }
  io::sync_path(file);
  try {
    check(ShardReader(file));
  } catch (const core::DataError& error) {
    throw core::IoError("the shard just written does not read back: {}", error.what());
  }
  sealed_ = true;
}

void ShardWriter::seal() {
  io::AtomicFile file(path_);
  prepare(file.temporary());
  file.commit();
}

bool ShardWriter::seal_unless_there(const std::string& token) {
  io::AtomicFile file(path_, token);
  prepare(file.temporary());
  return file.commit_unless_there();
}

Texts::Texts(const std::vector<std::string>& texts) {
  size_t length = 0;
  for (const std::string& text : texts) length += text.size();
  core::checked_cast<uint32_t>(length, "the length of a shard's keys");
  all_.reserve(length);
  ends_.reserve(texts.size());
  for (const std::string& text : texts) {
    all_ += text;
    ends_.push_back(static_cast<uint32_t>(all_.size()));
  }
}

std::string_view Texts::operator[](size_t index) const {
  const size_t begin = index == 0 ? 0 : ends_[index - 1];
  return std::string_view(all_).substr(begin, ends_[index] - begin);
}

ShardReader::ShardReader(std::filesystem::path path) : file_(std::move(path)) {
  const io::Hdf5Reader hdf5(file_.path());
  read_header(hdf5);
  read_rows(hdf5);
  if (hdf5.has("/source") || hdf5.has("/translation")) read_sources(hdf5);
  check_keys(keys_, is_translation_, file_.path().string());
}

size_t ShardReader::checked(int64_t row) const {
  SYNCDR_ASSERT(row >= 0 && row < rows(), "{}: row {} of {}", path().string(), row, rows());
  return static_cast<size_t>(row);
}

/// A dataset that has a value for each row.
template <class Value> std::vector<Value> ShardReader::column(const io::Hdf5Reader& hdf5, const char* name) const {
  auto values = hdf5.read<Value>(name);
  if (std::ssize(values) != keys_.size()) throw core::DataError("{}: {} has {} rows, {} has {}", path().string(), name, values.size(), layout::key, rows());
  return values;
}

void ShardReader::read_header(const io::Hdf5Reader& hdf5) {
  if (!hdf5.has_attribute("format") || hdf5.string_attribute("format") != layout::format) throw core::DataError("{}: is no shard of syncdr", path().string());
  const int64_t version = hdf5.int_attribute("version");
  if (version != shard_version)
    throw core::DataError("{}: has format version {}, this release reads {}. Pack it again.", path().string(), version, shard_version);
  header_.domain = hdf5.string_attribute("domain");
  header_.split = hdf5.string_attribute("split");
  try {
    header_.codec = codec_from_name(hdf5.string_attribute("codec"));
  } catch (const core::DataError& error) {
    throw core::DataError("{}: {}", path().string(), error.what());
  }
  header_.height = hdf5.int_attribute("height");
  header_.width = hdf5.int_attribute("width");
  check_header(header_, path().string());
  const std::string where = path().string() + ": attribute provenance";
  const boost::json::value provenance = io::parse_json(hdf5.string_attribute("provenance"), where);
  header_.provenance = io::json_texts(io::as_object(provenance, where), where);
}

void ShardReader::read_rows(const io::Hdf5Reader& hdf5) {
  keys_ = Texts(hdf5.read<std::string>(layout::key));
  labels_ = column<int32_t>(hdf5, layout::label);
  checksums_ = column<uint32_t>(hdf5, layout::crc32c);
  offsets_ = hdf5.read<uint64_t>(layout::offset);
  if (std::ssize(offsets_) != rows() + 1)
    throw core::DataError("{}: {} has {} entries, {} rows need one more", path().string(), layout::offset, offsets_.size(), rows());
  const io::Extent images = hdf5.extent(layout::image);
  if (images.bytes != offsets_.back())
    throw core::DataError("{}: {} has {} bytes, the last offset is {}", path().string(), layout::image, images.bytes, offsets_.back());
  images_begin_ = images.offset;
  if (offsets_.front() != 0) throw core::DataError("{}: {} does not begin with 0", path().string(), layout::offset);
  for (size_t row = 0; row + 1 < offsets_.size(); ++row) {
    if (offsets_[row] > offsets_[row + 1])
      throw core::DataError("{}: row {}: offsets fall from {} to {}", path().string(), row, offsets_[row], offsets_[row + 1]);
  }
}

void ShardReader::read_sources(const io::Hdf5Reader& hdf5) {
  is_translation_ = true;
  const auto key = column<std::string>(hdf5, layout::source_key);
  const auto shard = column<int32_t>(hdf5, layout::source_shard), prompt = column<int32_t>(hdf5, layout::prompt);
  prompts_ = hdf5.read<std::string>(layout::prompts);
  const auto variant = column<int32_t>(hdf5, layout::variant), status = column<int32_t>(hdf5, layout::status);
  const auto row = column<int64_t>(hdf5, layout::source_row), seed = column<int64_t>(hdf5, layout::seed);
  bool same = true;
  sources_.reserve(key.size());
  for (size_t i = 0; i < key.size(); ++i) {
    if (prompt[i] < -1 || std::cmp_greater_equal(prompt[i], prompts_.size()))
      throw core::DataError("{}: row {}: prompt {} of {} cannot be", path().string(), i, prompt[i], prompts_.size());
    check_source(row[i], shard[i], status[i], i, path().string());
    sources_.push_back({row[i], seed[i], shard[i], prompt[i], variant[i], status[i]});
    same = same && key[i] == keys_[i];
  }
  if (!same) source_keys_ = Texts(key);
}

SourceRow ShardReader::source(int64_t row) const {
  SYNCDR_ASSERT(is_translation_, "{} is no translation", path().string());
  const size_t i = checked(row);
  const Made& made = sources_[i];
  return {.key = std::string(source_keys_.size() > 0 ? source_keys_[i] : keys_[i]),
          .shard = made.shard,
          .row = made.row,
          .prompt = made.prompt < 0 ? "" : prompts_[static_cast<size_t>(made.prompt)],
          .variant = made.variant,
          .seed = made.seed,
          .status = made.status};
}

std::vector<uint8_t> ShardReader::encoded(int64_t row) const {
  const size_t i = checked(row);
  std::vector<uint8_t> bytes(offsets_[i + 1] - offsets_[i]);  // within the extent, which lies in the file: checked when it was opened
  file_.read_at(images_begin_ + offsets_[i], bytes);
  if (io::crc32c(bytes) != checksums_[i]) {
    throw core::DataError("{}: row {} (\"{}\"): its bytes do not match their checksum. The file was damaged; pack or translate it again.", path().string(), row,
                          keys_[i]);
  }
  return bytes;
}

Image ShardReader::image(int64_t row, int64_t at_least) const {
  const std::vector<uint8_t> bytes = encoded(row);
  try {
    if (header_.height > 0 && header_.codec != Codec::raw) {
      const ImageSize size = peek_size(bytes, header_.codec);
      if (size.height != header_.height || size.width != header_.width)
        throw core::DataError("has {}x{} pixels, the shard's images have {}x{}", size.width, size.height, header_.width, header_.height);
    }
    return decode(bytes, header_.codec, {header_.height, header_.width}, at_least);
  } catch (const core::DataError& error) {
    throw core::DataError("{}: row {} (\"{}\"): {}. Remove or replace the source image and pack again.", path().string(), row, key(row), error.what());
  }
}

void ShardReader::verify() const {
  check_texts(keys_, path().string());
  for (int64_t row = 0; row < rows(); ++row) image(row);
}

}  // namespace syncdr::data
