#include "syncdr/data/shard.h"

#include "fuzz.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/hdf5.h"

using namespace syncdr;

namespace {

/// A dataset or an attribute: what a shard has, and what the input makes of it.
struct Part {
  std::string name;
  enum Kind { bytes, u32, u64, i32, i64, texts, kinds } kind;
  std::vector<int64_t> numbers;
  std::vector<std::string> words;
  bool there = true;

  template <class Value> std::vector<Value> as() const {
    std::vector<Value> values;
    for (const int64_t number : numbers) values.push_back(static_cast<Value>(number));
    return values;
  }
  bool is_attribute() const { return name[0] != '/'; }
};

/// A translation of two rows.
std::vector<Part> good_parts() {
  const std::vector<uint8_t> picture = data::encode({1, 2, {1, 2, 3, 4, 5, 6}}, data::Codec::raw);
  std::vector<int64_t> twice(picture.begin(), picture.end());
  twice.insert(twice.end(), picture.begin(), picture.end());
  const int64_t crc = io::crc32c(picture);
  const auto text = [](const char* name, const char* value) { return Part{name, Part::texts, {}, {value}}; };
  const auto number = [](const char* name, int64_t value) { return Part{name, Part::i64, {value}, {}}; };
  return {text("format", "syncdr-shard"),
          number("version", 1),
          text("domain", "photo"),
          text("split", "train"),
          text("codec", "raw"),
          number("height", 1),
          number("width", 2),
          text("provenance", "{}"),
          {"/image/data", Part::bytes, twice, {}},
          {"/image/offset", Part::u64, {0, 6, 12}, {}},
          {"/image/crc32c", Part::u32, {crc, crc}, {}},
          {"/key", Part::texts, {}, {"photo/a.png", "photo/b.png"}},
          {"/label", Part::i32, {0, -1}, {}},
          {"/source/key", Part::texts, {}, {"photo/a.png", "photo/c.png"}},
          {"/source/shard", Part::i32, {0, 1}, {}},
          {"/source/row", Part::i64, {4, 5}, {}},
          {"/translation/prompt", Part::i32, {0, -1}, {}},
          {"/translation/prompts", Part::texts, {}, {"a photo"}},
          {"/translation/variant", Part::i32, {0, 0}, {}},
          {"/translation/seed", Part::i64, {7, 7}, {}},
          {"/translation/status", Part::i32, {0, 2}, {}}};
}

void change(Part& part, fuzz::Bytes& in) {
  switch (in.below(6)) {
    case 0: part.there = false; break;
    case 1: part.kind = static_cast<Part::Kind>(in.below(Part::kinds)); break;
    case 2:
      if (!part.numbers.empty()) part.numbers[in.below(part.numbers.size())] = in.number();
      if (!part.words.empty()) part.words[in.below(part.words.size())] = in.text(in.byte());
      break;
    case 3: part.kind == Part::texts ? part.words.push_back(in.text(in.byte())) : part.numbers.push_back(in.number()); break;
    case 4:
      if (!part.numbers.empty()) part.numbers.pop_back();
      if (!part.words.empty()) part.words.pop_back();
      break;
    default:
      if (!part.numbers.empty()) part.numbers = std::vector<int64_t>(in.byte(), part.numbers[0]);
      if (!part.words.empty()) part.words = std::vector<std::string>(in.byte(), part.words[0]);
  }
}

void write(io::Hdf5Writer& file, const Part& part) {
  if (part.is_attribute()) {
    if (part.kind == Part::texts) file.attribute(part.name, part.words.empty() ? "" : part.words[0]);
    else file.attribute(part.name, part.numbers.empty() ? 0 : part.numbers[0]);
    return;
  }
  switch (part.kind) {
    case Part::bytes: return file.write(part.name, part.as<uint8_t>());
    case Part::u32: return file.write(part.name, part.as<uint32_t>());
    case Part::u64: return file.write(part.name, part.as<uint64_t>());
    case Part::i32: return file.write(part.name, part.as<int32_t>());
    case Part::i64: return file.write(part.name, part.as<int64_t>());
    default: return file.write(part.name, part.words);
  }
}

}  // namespace

// Attributes and indices of a shard that HDF5 can open: src/data/README.md says why its own bytes are left alone.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<Part> good = good_parts();
  static const fuzz::Folder folder([](const std::filesystem::path&) {});  // HDF5 wants a path that is there
  std::vector<Part> parts = good;
  fuzz::Bytes in({data, size});
  while (!in.empty()) change(parts[in.below(parts.size())], in);
  const std::filesystem::path path = folder / "shard.h5";
  const bool written = fuzz::accepts([&] {
    io::Hdf5Writer file(path);
    for (const Part& part : parts)
      if (part.there) write(file, part);
    file.close();
  });
  if (!written) return -1;
  fuzz::accepts([&] {
    const data::ShardReader shard(path);
    fuzz::accepts([&] { shard.verify(); });
    for (int64_t row = 0; row < shard.rows(); ++row) {
      fuzz::require(!shard.key(row).empty() && shard.label(row) >= INT32_MIN, "a row without a key\n");
      if (shard.is_translation()) fuzz::require(shard.source(row).status <= 2, "a status that cannot be\n");
      fuzz::accepts([&] { shard.image(row); });
    }
  });
  return 0;
}
