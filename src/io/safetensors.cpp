#include "syncdr/io/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <bit>
#include <boost/json.hpp>
#include <cstring>
#include <optional>

#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/some_of.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"
#include "syncdr/io/foreign.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/json.h"

namespace syncdr::io {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian in the file and are read as they are");

constexpr uint64_t max_header = 100'000'000;  // the original's limit
constexpr size_t max_dimensions = 64;         // LibTorch's limit for operations
constexpr size_t max_name = 1000;             // of a tensor: patterns that names are matched with take stack for each character
constexpr const char* cut_short = "It was cut short: get it again.";

struct Dtype {
  const char* name;
  uint64_t bits;
  std::optional<at::ScalarType> type;  // none: the format's, but not read here
};
constexpr Dtype dtypes[] = {{"F64", 64, at::kDouble}, {"F32", 32, at::kFloat},
                            {"F16", 16, at::kHalf},   {"BF16", 16, at::kBFloat16},
                            {"I64", 64, at::kLong},   {"I32", 32, at::kInt},
                            {"I16", 16, at::kShort},  {"I8", 8, at::kChar},
                            {"U8", 8, at::kByte},     {"BOOL", 8, at::kBool},
                            {"U64", 64, {}},          {"U32", 32, {}},
                            {"U16", 16, {}},          {"C64", 64, {}},
                            {"F8_E5M2", 8, {}},       {"F8_E4M3", 8, {}},
                            {"F8_E8M0", 8, {}},       {"F8_E5M2FNUZ", 8, {}},
                            {"F8_E4M3FNUZ", 8, {}},   {"F6_E2M3", 6, {}},
                            {"F6_E3M2", 6, {}},       {"F4", 4, {}}};

const Dtype& dtype_from_name(const std::string& name, const std::string& where) {
  for (const Dtype& dtype : dtypes) {
    if (name == dtype.name) return dtype;
  }
  throw core::DataError("{}: unknown dtype \"{}\"", where, name);
}

const char* name_of_type(at::ScalarType type, const std::string& tensor) {
  for (const Dtype& dtype : dtypes) {
    if (type == dtype.type) return dtype.name;
  }
  throw core::UsageError("tensor \"{}\": safetensors cannot hold {}", tensor, at::toString(type));
}

/// One tensor of the header; [begin, end) counts from the start of the data.
struct Entry {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

std::vector<uint64_t> naturals(const boost::json::array& array, const char* what, const std::string& where) {
  std::vector<uint64_t> values;
  for (const boost::json::value& item : array) {
    const int64_t* number = item.if_int64();  // anything above 2^63 is no size
    if (!number || *number < 0) throw core::DataError("{}: {} holds something else than whole numbers from 0", where, what);
    values.push_back(static_cast<uint64_t>(*number));
  }
  return values;
}

Entry read_entry(const std::string& name, const boost::json::value& value, const std::string& where) {
  const boost::json::object& object = as_object(value, where);  // members that are not known pass, as in the original
  Entry entry{.name = name, .dtype = dtype_from_name(json_string(object, "dtype", where), where)};
  const auto shape = naturals(json_array(object, "shape", where), "shape", where);
  const auto offsets = naturals(json_array(object, "data_offsets", where), "data_offsets", where);
  if (shape.size() > max_dimensions) throw core::DataError("{}: has {} dimensions, at most {} are possible", where, shape.size(), max_dimensions);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) throw core::DataError("{}: data_offsets are not [begin, end]", where);
  uint64_t bits = entry.dtype.bits;
  int64_t stride = 1;  // LibTorch computes it for empty tensors too
  for (uint64_t side : shape) {
    bits = core::checked_mul(bits, side, where.c_str());
    entry.shape.push_back(static_cast<int64_t>(side));
    stride = core::checked_mul(stride, std::max<int64_t>(entry.shape.back(), 1), where.c_str());
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (bits % 8 != 0) throw core::DataError("{}: shape and dtype need {} bits, no whole number of bytes", where, bits);
  if (entry.end - entry.begin != bits / 8) {
    throw core::DataError("{}: shape and dtype need {} bytes, data_offsets give {}", where, bits / 8, entry.end - entry.begin);
  }
  return entry;
}

/// The tensors must tile the data exactly: no overlap, no hole, nothing left.
void check_tiling(std::vector<Entry>& entries, uint64_t data_bytes, const std::string& file) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  uint64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) {
      throw core::DataError("{}: tensor \"{}\": its data begins at {}, the tensors before it end at {}: they {}", file, entry.name, entry.begin, expected,
                            entry.begin < expected ? "overlap" : "leave a hole");
    }
    expected = entry.end;
  }
  if (expected > data_bytes) throw core::DataError("{}: the tensors need {} bytes, the file holds {}. {}", file, expected, data_bytes, cut_short);
  if (expected < data_bytes) throw core::DataError("{}: {} bytes follow the last tensor", file, data_bytes - expected);
}

/// The first bytes for a message.
std::string printable(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes.substr(0, 40)) text += byte >= ' ' && byte <= '~' ? std::string(1, byte) : fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
  return text;
}

std::string read_header(const InputFile& file, const std::string& where) {
  uint64_t length = 0;
  std::string start(std::min<uint64_t>(file.size(), 256), '\0');
  file.read_at(0, {reinterpret_cast<uint8_t*>(start.data()), start.size()});
  if (start.size() >= sizeof(length)) std::memcpy(&length, start.data(), sizeof(length));
  // The length alone does not tell: that of a header of 640 bytes begins as a pickle does.
  const bool may_be_header =
      length <= max_header && start.size() > sizeof(length) && std::string_view("{ \t\r\n").find(start[sizeof(length)]) != std::string_view::npos;
  if (!may_be_header) refuse_foreign(start, file.size(), where);
  if (file.size() < sizeof(length)) throw core::DataError("{}: has {} bytes, a safetensors file has at least 8. {}", where, file.size(), cut_short);
  if (length == 0) throw core::DataError("{}: begins with zeros where a header's length should be, as a download that was broken off. Get it again.", where);
  if (length > max_header) {
    throw core::DataError("{}: is no safetensors file: it would have a header of {} bytes, at most {} are read. It begins with \"{}\".", where, length,
                          max_header, printable(start));
  }
  if (length > file.size() - sizeof(length)) throw core::DataError("{}: the header needs {} bytes, the file ends before. {}", where, length, cut_short);
  std::string header(length, '\0');
  file.read_at(sizeof(length), {reinterpret_cast<uint8_t*>(header.data()), header.size()});
  return header;
}

/// One line for a file, which all ranks read.
void warn_of_unread(const std::vector<std::string>& unread, const std::string& file) {
  if (unread.empty() || core::log_rank() != 0) return;
  core::warn("{}: passes over {}: these types are not read. A model that needs them has to have them as F32, F16 or BF16.", file, core::some_of(unread));
}

std::span<uint8_t> bytes_of(const at::Tensor& tensor) { return {static_cast<uint8_t*>(tensor.data_ptr()), tensor.nbytes()}; }

/// A large tensor has pages of its own, which go back to the system as soon as it goes: a model is read, converted and packed weight by weight, and holes
/// that it leaves among other blocks would stay.
at::Tensor room_for(const Entry& entry) {
  const at::TensorOptions options(*entry.dtype.type);
  const size_t bytes = entry.end - entry.begin;
  constexpr size_t large = 1 << 20;
  if (bytes < large) return at::empty(entry.shape, options);
  void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw core::IoError("tensor \"{}\": no memory for its {} bytes: {}", entry.name, bytes, reason());
  return at::from_blob(pages, entry.shape, [bytes](void* start) { ::munmap(start, bytes); }, options);
}

/// A bool that is neither 0 nor 1 is undefined behaviour wherever it is used.
void check_bools(const at::Tensor& tensor, const std::string& name, const std::string& file) {
  if (tensor.scalar_type() != at::kBool) return;
  for (const uint8_t byte : bytes_of(tensor)) {
    if (byte > 1) throw core::DataError("{}: tensor \"{}\": a BOOL is {}, neither 0 nor 1", file, name, byte);
  }
}

/// Falling element size, then name: as the original orders them, so that every tensor is aligned and its Python reader can view it in place.
std::vector<const NamedTensors::value_type*> writing_order(const NamedTensors& tensors) {
  std::vector<const NamedTensors::value_type*> order;
  for (const auto& item : tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->second.element_size() > b->second.element_size(); });
  return order;
}

std::string make_header(const std::vector<const NamedTensors::value_type*>& order, const std::map<std::string, std::string>& metadata) {
  boost::json::object header;
  if (!metadata.empty()) header["__metadata__"] = to_json(metadata);
  uint64_t end = 0;
  for (const auto* item : order) {
    const uint64_t begin = end;
    end += item->second.nbytes();
    header[item->first] = {{"dtype", name_of_type(item->second.scalar_type(), item->first)},
                           {"shape", boost::json::array(item->second.sizes().begin(), item->second.sizes().end())},
                           {"data_offsets", {begin, end}}};
  }
  std::string text = boost::json::serialize(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

/// A file that is open, its header read.
struct OpenFile {
  explicit OpenFile(const std::filesystem::path& path) : file(path), where(path.string()) {
    const std::string in_header = where + ": header", text = read_header(file, where);
    const boost::json::value header = parse_json(text, in_header);
    for (const auto& item : as_object(header, in_header)) {
      const std::string name(item.key());
      if (name.size() > max_name)
        throw core::DataError("{}: the name \"{}...\" of a tensor has {} bytes, at most {} are read", where, printable(name), name.size(), max_name);
      if (name == "__metadata__") {
        const std::string place = where + ": __metadata__";
        if (!item.value().is_null()) metadata = json_texts(as_object(item.value(), place), place);  // null: none, as in the original
      } else {
        entries.push_back(read_entry(name, item.value(), fmt::format("{}: tensor \"{}\"", where, name)));
      }
    }
    data = sizeof(uint64_t) + text.size();
    check_tiling(entries, file.size() - data, where);
  }

  /// The tensors that make(entry) returns.
  template <class Make> Safetensors content(const Make& make) const {
    Safetensors result{.metadata = metadata};
    std::vector<std::string> unread;
    for (const Entry& entry : entries) {
      if (entry.dtype.type) {
        result.tensors.emplace(entry.name, make(entry));
      } else {
        result.unread.insert(entry.name);
        unread.push_back(fmt::format("\"{}\" ({})", entry.name, entry.dtype.name));
      }
    }
    warn_of_unread(unread, where);
    return result;
  }

  InputFile file;
  std::string where;
  std::map<std::string, std::string> metadata;
  std::vector<Entry> entries;
  uint64_t data = 0;  // where it begins
};

}  // namespace

Safetensors read_safetensors(const std::filesystem::path& path) {
  const OpenFile opened(path);
  return opened.content([&](const Entry& entry) {
    at::Tensor tensor = room_for(entry);
    opened.file.read_at(opened.data + entry.begin, bytes_of(tensor));
    check_bools(tensor, entry.name, opened.where);
    return tensor;
  });
}

Safetensors read_safetensors_header(const std::filesystem::path& path) {
  return OpenFile(path).content([](const Entry& entry) { return at::empty(entry.shape, at::TensorOptions(*entry.dtype.type).device(at::kMeta)); });
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors, const std::map<std::string, std::string>& metadata) {
  if (tensors.count("__metadata__")) throw core::UsageError("{}: a tensor cannot be named __metadata__", path.string());
  const auto order = writing_order(tensors);
  const std::string header = make_header(order, metadata);
  const uint64_t length = header.size();
  AtomicFile file(path);
  OutputFile out(file.temporary());
  out.write(std::string_view(reinterpret_cast<const char*>(&length), sizeof(length)));
  out.write(header);
  for (const auto* item : order) {
    const at::Tensor values = item->second.detach().to(at::kCPU).contiguous();  // one at a time: a model on a GPU need not fit twice into memory
    out.write(bytes_of(values));
  }
  out.close();
  file.commit();
}

}  // namespace syncdr::io
