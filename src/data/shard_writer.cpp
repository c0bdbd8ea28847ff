#include <boost/json.hpp>
#include <unordered_map>

#include "shard_layout.h"
#include "syncdr/core/error.h"
#include "syncdr/data/shard.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"

namespace syncdr::data {

struct ShardWriter::State {
  std::filesystem::path path;
  ShardHeader header;
  bool with_source = false, sealed = false;
  std::vector<Row> rows;
  std::vector<SourceRow> sources;

  void write(const std::filesystem::path& file) const;
  void write_attributes(io::Hdf5Writer& file) const;
  void write_images(io::Hdf5Writer& file) const;
  void write_sources(io::Hdf5Writer& file) const;
  void write_prompts(io::Hdf5Writer& file) const;
  void check(const ShardReader& reader) const;
  void prepare(const io::AtomicFile& file);
};

namespace {

/// One member of each item, as the column of a table.
template <class Item, class Value> auto column(const std::vector<Item>& items, Value Item::* member) {
  std::vector<Value> values;
  values.reserve(items.size());
  for (const Item& item : items) values.push_back(item.*member);
  return values;
}

}  // namespace

void ShardWriter::State::write_attributes(io::Hdf5Writer& file) const {
  file.attribute("format", std::string(layout::format));
  file.attribute("version", shard_version);
  file.attribute("created_by", std::string(layout::created_by));
  file.attribute("domain", header.domain);
  file.attribute("split", header.split);
  file.attribute("codec", std::string(codec_name(header.codec)));
  file.attribute("height", header.height);
  file.attribute("width", header.width);
  boost::json::object provenance;
  for (const auto& [name, value] : header.provenance) provenance[name] = value;
  file.attribute("provenance", boost::json::serialize(provenance));
}

void ShardWriter::State::write_images(io::Hdf5Writer& file) const {
  std::vector<uint64_t> offsets{0};
  std::vector<uint32_t> checksums;
  for (const Row& row : rows) {
    offsets.push_back(offsets.back() + row.encoded.size());
    checksums.push_back(io::crc32c(row.encoded));
  }
  file.write(layout::offset, offsets);
  file.write(layout::crc32c, checksums);
  file.begin_bytes(layout::image, offsets.back());
  for (const Row& row : rows) file.append_bytes(row.encoded);
  file.write(layout::key, column(rows, &Row::key));
  file.write(layout::label, column(rows, &Row::label));
}

void ShardWriter::State::write_sources(io::Hdf5Writer& file) const {
  file.write(layout::source_key, column(sources, &SourceRow::key));
  file.write(layout::source_shard, column(sources, &SourceRow::shard));
  file.write(layout::source_row, column(sources, &SourceRow::row));
  write_prompts(file);
  file.write(layout::variant, column(sources, &SourceRow::variant));
  file.write(layout::seed, column(sources, &SourceRow::seed));
  file.write(layout::status, column(sources, &SourceRow::status));
}

/// Texts once each, in the order of their first rows: most runs have one text for all rows.
void ShardWriter::State::write_prompts(io::Hdf5Writer& file) const {
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

void ShardWriter::State::write(const std::filesystem::path& file) const {
  io::Hdf5Writer writer(file);
  write_attributes(writer);
  write_images(writer);
  if (with_source) write_sources(writer);
  writer.close();
}

/// What was written against what is still in memory: a file system that lies is found now, not in a week.
void ShardWriter::State::check(const ShardReader& reader) const {
  const auto refuse = [&](size_t row) { throw core::IoError("{}: row {} reads back changed. The disk or its driver is faulty.", path.string(), row); };
  if (reader.rows() != static_cast<int64_t>(rows.size()) || reader.is_translation() != with_source) refuse(0);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (reader.key(row) != rows[i].key || reader.label(row) != rows[i].label || reader.encoded(row) != rows[i].encoded) refuse(i);
    if (with_source && reader.source(row) != sources[i]) refuse(i);
  }
}

ShardWriter::ShardWriter(std::filesystem::path path, ShardHeader header, bool with_source) : state_(std::make_unique<State>()) {
  state_->path = std::move(path);
  state_->header = std::move(header);
  state_->with_source = with_source;
}

ShardWriter::~ShardWriter() = default;
ShardWriter::ShardWriter(ShardWriter&&) noexcept = default;

void ShardWriter::add(Row row) {
  SYNCDR_ASSERT(!state_->with_source, "a row of a translation comes with its source");
  state_->rows.push_back(std::move(row));
}

void ShardWriter::add(Row row, SourceRow source) {
  SYNCDR_ASSERT(state_->with_source, "a row of a real image has no source");
  state_->rows.push_back(std::move(row));
  state_->sources.push_back(std::move(source));
}

int64_t ShardWriter::rows() const { return static_cast<int64_t>(state_->rows.size()); }

void ShardWriter::State::prepare(const io::AtomicFile& file) {
  SYNCDR_ASSERT(!sealed, "{} is sealed twice", path.string());
  layout::check_header(header, path.string());
  layout::check_keys(column(rows, &Row::key), with_source, path.string());
  for (size_t row = 0; row < sources.size(); ++row) layout::check_source(sources[row], row, path.string());
  write(file.temporary());
  io::sync_file(file.temporary());
  try {
    check(ShardReader(file.temporary()));
  } catch (const core::DataError& error) {
    throw core::IoError("the shard just written does not read back: {}", error.what());
  }
  sealed = true;
}

void ShardWriter::seal() {
  io::AtomicFile file(state_->path);
  state_->prepare(file);
  file.commit();
}

bool ShardWriter::seal_unless_there(const std::string& token) {
  io::AtomicFile file(state_->path, token);
  state_->prepare(file);
  return file.commit_unless_there();
}

}  // namespace syncdr::data
