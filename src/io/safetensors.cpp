#include "syncdr/io/safetensors.h"

#include <ATen/ops/empty.h>

#include <bit>
#include <boost/json.hpp>
#include <cstring>

#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"
#include "syncdr/io/json.h"

namespace syncdr::io {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian in the file and are read as they are");

constexpr uint64_t max_header = uint64_t{100} << 20;  // the original's limit
constexpr size_t max_dimensions = 64;                 // LibTorch's limit for operations

struct Dtype {
  const char* name;
  at::ScalarType type;
};
constexpr Dtype dtypes[] = {{"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16}, {"I64", at::kLong},
                            {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},   {"U8", at::kByte},       {"BOOL", at::kBool}};

at::ScalarType type_from_name(const std::string& name, const std::string& where) {
  for (const Dtype& dtype : dtypes) {
    if (name == dtype.name) return dtype.type;
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
  at::ScalarType type;
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
  const boost::json::object& object = as_object(value, where);
  if (object.size() != 3) throw core::DataError("{}: has other members than dtype, shape and data_offsets", where);
  Entry entry{.name = name, .type = type_from_name(json_string(object, "dtype", where), where)};
  const auto shape = naturals(json_array(object, "shape", where), "shape", where);
  const auto offsets = naturals(json_array(object, "data_offsets", where), "data_offsets", where);
  if (shape.size() > max_dimensions) throw core::DataError("{}: has {} dimensions, at most {} are possible", where, shape.size(), max_dimensions);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) throw core::DataError("{}: data_offsets are not [begin, end]", where);
  uint64_t bytes = c10::elementSize(entry.type);
  for (uint64_t side : shape) {
    bytes = core::checked_mul(bytes, side, where.c_str());
    entry.shape.push_back(static_cast<int64_t>(side));
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.end - entry.begin != bytes) {
    throw core::DataError("{}: shape and dtype need {} bytes, data_offsets give {}", where, bytes, entry.end - entry.begin);
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
  if (expected > data_bytes) throw core::DataError("{}: the tensors need {} bytes, the file holds {}. It was cut short.", file, expected, data_bytes);
  if (expected < data_bytes) throw core::DataError("{}: {} bytes follow the last tensor", file, data_bytes - expected);
}

std::string read_header(const InputFile& file, const std::string& where) {
  uint64_t length = 0;
  if (file.size() < sizeof(length)) throw core::DataError("{}: has {} bytes, a safetensors file has at least 8", where, file.size());
  file.read_at(0, {reinterpret_cast<uint8_t*>(&length), sizeof(length)});
  if (length > max_header) throw core::DataError("{}: the header is said to have {} bytes, at most {} are read. Is it a safetensors file?", where, length, max_header);
  if (length > file.size() - sizeof(length)) throw core::DataError("{}: the header needs {} bytes, the file ends before. It was cut short.", where, length);
  std::string header(length, '\0');
  file.read_at(sizeof(length), {reinterpret_cast<uint8_t*>(header.data()), header.size()});
  return header;
}

std::map<std::string, std::string> read_metadata(const boost::json::value& value, const std::string& where) {
  std::map<std::string, std::string> metadata;
  for (const auto& item : as_object(value, where)) {
    if (!item.value().is_string()) throw core::DataError("{}: \"{}\" is not a string", where, std::string(item.key()));
    metadata.emplace(item.key(), item.value().as_string());
  }
  return metadata;
}

/// On the CPU, contiguous: the bytes are the file's.
at::Tensor plain(const at::Tensor& tensor) { return tensor.detach().to(at::kCPU).contiguous(); }

std::span<uint8_t> bytes_of(const at::Tensor& tensor) { return {static_cast<uint8_t*>(tensor.data_ptr()), tensor.nbytes()}; }

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
  if (!metadata.empty()) {
    boost::json::object& object = header["__metadata__"].emplace_object();
    for (const auto& [name, value] : metadata) object[name] = value;
  }
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

}  // namespace

Safetensors read_safetensors(const std::filesystem::path& path) {
  const InputFile file(path);
  const std::string where = path.string(), in_header = where + ": header";
  const std::string text = read_header(file, where);
  const boost::json::value header = parse_json(text, in_header);
  Safetensors result;
  std::vector<Entry> entries;
  for (const auto& item : as_object(header, in_header)) {
    const std::string name(item.key());
    if (name == "__metadata__") {
      result.metadata = read_metadata(item.value(), where + ": __metadata__");
    } else {
      entries.push_back(read_entry(name, item.value(), fmt::format("{}: tensor \"{}\"", where, name)));
    }
  }
  const uint64_t data = sizeof(uint64_t) + text.size();
  check_tiling(entries, file.size() - data, where);
  for (const Entry& entry : entries) {
    at::Tensor tensor = at::empty(entry.shape, at::TensorOptions(entry.type));
    file.read_at(data + entry.begin, bytes_of(tensor));
    check_bools(tensor, entry.name, where);
    result.tensors.emplace(entry.name, std::move(tensor));
  }
  return result;
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
    const at::Tensor values = plain(item->second);  // one at a time: a model on a GPU need not fit twice into memory
    out.write(bytes_of(values));
  }
  out.close();
  file.commit();
}

}  // namespace syncdr::io
