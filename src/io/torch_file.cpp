#include "syncdr/io/torch_file.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <bit>
#include <boost/crc.hpp>

#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/io/foreign.h"
#include "zip.h"

namespace syncdr::io {
namespace {

using Kind = PickleValue::Kind;
using Items = std::vector<std::pair<const PickleValue*, const PickleValue*>>;

static_assert(std::endian::native == std::endian::little, "storages are little-endian in the file and are read as they are");

/// Each tensor is written by itself, even where many are views of one storage; beyond this many times the file's size that was not meant.
constexpr uint64_t most_copies = 4, small_bytes = uint64_t{16} << 20;
constexpr size_t max_dimensions = 64;  // LibTorch's limit for operations

struct StorageType {
  const char* name;  // "torch.NAMEStorage"
  uint64_t bytes;
  std::optional<at::ScalarType> type;  // none: safetensors as we write them cannot hold it
};
constexpr StorageType storage_types[] = {{"Double", 8, at::kDouble}, {"Float", 4, at::kFloat}, {"Half", 2, at::kHalf},   {"BFloat16", 2, at::kBFloat16},
                                         {"Long", 8, at::kLong},     {"Int", 4, at::kInt},     {"Short", 2, at::kShort}, {"Char", 1, at::kChar},
                                         {"Byte", 1, at::kByte},     {"Bool", 1, at::kBool},   {"ComplexFloat", 8, {}},  {"ComplexDouble", 16, {}},
                                         {"QInt8", 1, {}},           {"QUInt8", 1, {}},        {"QInt32", 4, {}},        {"QUInt4x2", 1, {}},
                                         {"QUInt2x4", 1, {}},        {"Untyped", 1, {}}};

const StorageType* storage_type(const std::string& global) {
  std::string_view name = global;
  for (const std::string_view module : {"torch.storage.", "torch.cuda.", "torch."}) {
    if (!name.starts_with(module)) continue;
    name.remove_prefix(module.size());
    break;
  }
  const auto* found = std::ranges::find_if(storage_types, [&](const StorageType& type) { return name == std::string(type.name) + "Storage"; });
  return global.starts_with("torch.") && found != std::end(storage_types) ? found : nullptr;
}

// _rebuild_tensor is that of PyTorch before 0.4, whose parameters were made by calling their class.
constexpr std::string_view parameters[] = {"torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter"};
constexpr std::string_view tensors[] = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"};
constexpr std::string_view plain[] = {"collections.OrderedDict",
                                      "torch.Size",
                                      "torch.device",
                                      "builtins.set",
                                      "__builtin__.set",
                                      "_codecs.encode",
                                      "numpy.core.multiarray.scalar",
                                      "numpy._core.multiarray.scalar",
                                      "numpy.dtype",
                                      "torch.float64",
                                      "torch.float32",
                                      "torch.float16",
                                      "torch.bfloat16",
                                      "torch.int64",
                                      "torch.int32",
                                      "torch.int16",
                                      "torch.int8",
                                      "torch.uint8",
                                      "torch.bool"};

template <class List> bool among(const List& list, std::string_view name) { return std::ranges::find(list, name) != std::end(list); }

bool is_known(const std::string& global) { return among(parameters, global) || among(tensors, global) || among(plain, global) || storage_type(global); }

/// What torch.save says of a storage: ("storage", type, key, device, elements, and in the old stream a view of another storage).
struct StorageId {
  const StorageType* type;
  std::string type_name, key;
  int64_t elements;
  bool view;
};
std::optional<StorageId> storage_id(const PickleValue& value) {
  if (!value.is(Kind::persistent) || !value.items[0]->is(Kind::tuple)) return {};
  const auto& id = value.items[0]->items;
  if (id.size() < 5 || id.size() > 6 || !id[0]->is(Kind::text) || id[0]->text != "storage" || !id[1]->is(Kind::global)) return {};
  if (!id[2]->is(Kind::text) || !id[4]->is(Kind::integer) || id[4]->integer < 0) return {};
  return StorageId{storage_type(id[1]->text), id[1]->text, id[2]->text, id[4]->integer, id.size() == 6 && !id[5]->is(Kind::none)};
}

std::vector<int64_t> sizes_of(const PickleValue& value, const std::string& where) {
  const PickleValue& list = value.made_by("torch.Size") && value.items[1]->items.size() == 1 ? *value.items[1]->items[0] : value;
  if (!list.is(Kind::tuple) && !list.is(Kind::list)) throw core::DataError("{}: its shape or strides are {}", where, describe(list));
  if (list.items.size() > max_dimensions) throw core::DataError("{}: has {} dimensions, at most {} are possible", where, list.items.size(), max_dimensions);
  std::vector<int64_t> sizes;
  for (const PickleValue* item : list.items) {
    if (!item->is(Kind::integer) || item->integer < 0) throw core::DataError("{}: its shape or strides hold something else than whole numbers from 0", where);
    sizes.push_back(item->integer);
  }
  return sizes;
}

/// The bytes of the tensor alone, and the elements of its storage from the first on that it needs.
struct Extent {
  uint64_t bytes;
  int64_t elements;
};
Extent extent_of(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides, int64_t offset, uint64_t element, const std::string& where) {
  if (shape.size() != strides.size()) throw core::DataError("{}: has {} dimensions and {} strides", where, shape.size(), strides.size());
  const char* what = where.c_str();
  uint64_t bytes = element;
  int64_t last = offset, widest = 1;  // LibTorch computes the product of an empty tensor's sides, too
  for (size_t i = 0; i < shape.size(); ++i) {
    bytes = core::checked_mul(bytes, static_cast<uint64_t>(shape[i]), what);
    widest = core::checked_mul(widest, std::max<int64_t>(shape[i], 1), what);
    last = core::checked_add(last, core::checked_mul(std::max<int64_t>(shape[i], 1) - 1, strides[i], what), what);
  }
  return {bytes, bytes == 0 ? 0 : core::checked_add<int64_t>(last, 1, what)};
}

/// Bytes of an element of each storage that a pickle speaks of.
std::map<std::string, uint64_t> element_sizes(const Pickle& pickle, const std::string& where) {
  std::map<std::string, uint64_t> sizes;
  for (const PickleValue& value : pickle.values) {
    const auto id = storage_id(value);
    if (!id || !id->type) continue;
    const auto [known, fresh] = sizes.emplace(id->key, id->type->bytes);
    if (known->second != id->type->bytes)
      throw core::DataError("{}: storage \"{}\" is given elements of {} and of {} bytes", where, id->key, known->second, id->type->bytes);
  }
  return sizes;
}

bool is_flags(const PickleValue* state) { return !state || (state->is(Kind::tuple) && state->items.size() == 3); }

/// What a parameter is made of: a tensor, besides flags. One whose state is more than three flags holds other data and is left as it is.
/// The inner value is older than the outer one: there is no cycle.
const PickleValue& without_parameter(const PickleValue& value) {
  const PickleValue* inner = &value;
  while (inner->is(Kind::object) && among(parameters, inner->items[0]->text) && !inner->items[1]->items.empty() && is_flags(inner->state)) {
    inner = inner->items[1]->items[0];
  }
  return *inner;
}

uint32_t crc32(std::span<const uint8_t> bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

}  // namespace

bool is_tensor(const PickleValue& value) {
  if (!value.is(Kind::object)) return false;
  const std::string& maker = value.items[0]->text;
  return among(parameters, maker) || maker.starts_with("torch._utils._rebuild_") || maker == "torch._tensor._rebuild_from_type_v2";
}

bool is_number(const PickleValue& value) {
  const PickleValue& inner = without_parameter(value);
  return inner.is(Kind::object) && among(tensors, inner.items[0]->text) && inner.items[1]->items.size() > 2 && inner.items[1]->items[2]->items.empty();
}

std::optional<Items> dictionary_items(const PickleValue& value) {
  Items items;
  const bool ordered = value.made_by("collections.OrderedDict");
  if (!ordered && !value.is(Kind::dictionary)) return {};
  // Python 2 gives an OrderedDict a list of [key, value] when it makes it; Python 3 sets them afterwards.
  if (ordered && !value.items[1]->items.empty()) {
    for (const PickleValue* pair : value.items[1]->items[0]->items) {
      if (pair->items.size() != 2) return {};
      items.emplace_back(pair->items[0], pair->items[1]);
    }
  }
  for (size_t i = ordered ? 2 : 0; i + 1 < value.items.size(); i += 2) items.emplace_back(value.items[i], value.items[i + 1]);
  return items;
}

TorchFile::TorchFile(const std::filesystem::path& path) : file_(path) {
  std::string start(std::min<uint64_t>(file_.size(), 512), '\0');
  file_.read_at(0, {reinterpret_cast<uint8_t*>(start.data()), start.size()});
  const bool archive = start.starts_with("PK\3\4"), stream = start.starts_with("\x80");
  if (archive) open_archive();
  if (stream) open_stream();
  if (archive || stream) return;
  if (start.size() > 262 && start.substr(257, 5) == "ustar")
    throw core::DataError("{}: is a tar archive, the format of PyTorch's first versions, which is not read. In Python, save anew what torch.load gives.",
                          path.string());
  refuse_foreign(start, file_.size(), path.string());
  throw core::DataError("{}: is no file of torch.save: neither a zip archive nor a pickle", path.string());
}

/// ROOT/data.pkl is the pickle, ROOT/data/KEY a storage, ROOT/byteorder the machine's order of bytes (since PyTorch 2.1).
void TorchFile::open_archive() {
  const std::string where = file_.path().string();
  const auto entries = read_zip_directory(file_);
  std::string root;
  for (const auto& [name, entry] : entries) {
    const std::string inner = name.substr(std::min(name.find('/') + 1, name.size()));
    if (inner == "constants.pkl" || inner.starts_with("code/"))
      throw core::DataError(
          "{}: is a TorchScript archive (\"{}\"), a program with weights in it. In Python: "
          "safetensors.torch.save_file(torch.jit.load(FILE).state_dict(), NEW_FILE).",
          where, name);
    if (inner != "data.pkl") continue;
    if (!root.empty()) throw core::DataError("{}: holds two objects, \"{}data.pkl\" and \"{}\"", where, root, name);
    root = name.substr(0, name.size() - inner.size());
  }
  if (root.empty()) throw core::DataError("{}: is a zip archive, but none of torch.save: it holds no NAME/data.pkl", where);
  for (const auto& [name, entry] : entries) {
    if (entry.compressed)
      throw core::DataError("{}: \"{}\" is compressed, which torch.save does not do. Unpack the archive and pack it again without compression: zip -0 -r.",
                            where, name);
  }
  const auto read = [&](const ZipEntry& entry, uint64_t most) {
    std::vector<uint8_t> bytes(std::min(entry.size, most));
    file_.read_at(entry.offset, bytes);
    return std::string(bytes.begin(), bytes.end());
  };
  if (const auto order = entries.find(root + "byteorder"); order != entries.end() && read(order->second, 8) != "little")
    throw core::DataError("{}: was written by a big-endian machine. Load it with torch.load there or here, and save it anew on a little-endian one.", where);
  for (const auto& [name, entry] : entries) {
    if (!name.starts_with(root + "data/")) continue;
    ranges_[name.substr(root.size() + 5)] = {entry.offset, entry.size, entry.crc32 == 0 ? std::nullopt : std::optional(entry.crc32)};
  }
  refuse_overlaps();
  const ZipEntry& entry = entries.at(root + "data.pkl");
  pickle_ = read_pickle(file_, entry.offset, entry.offset + entry.size);
}

/// Each lies in the file, but entries of a zip archive may lie on each other: a small file could then hold any number of large storages.
void TorchFile::refuse_overlaps() const {
  std::vector<std::pair<Range, std::string>> in_order;
  for (const auto& [key, range] : ranges_) in_order.emplace_back(range, key);
  std::ranges::sort(in_order, {}, [](const auto& item) { return std::pair(item.first.offset, item.first.size); });
  for (size_t i = 1; i < in_order.size(); ++i) {
    const auto& [before, its_key] = in_order[i - 1];
    if (before.offset + before.size > in_order[i].first.offset)
      throw core::DataError("{}: the storages \"{}\" and \"{}\" overlap in the file. It is damaged: get it again.", file_.path().string(), its_key,
                            in_order[i].second);
  }
}

/// Four pickles (a magic number, the version, the machine, the object), a fifth with the keys of the storages, then those: 8 bytes of length in elements,
/// and the elements.
void TorchFile::open_stream() {
  const std::string where = file_.path().string();
  constexpr std::string_view magic("\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", 13);
  std::string start(std::min<uint64_t>(file_.size(), 2 + 9 + magic.size()), '\0');
  file_.read_at(0, {reinterpret_cast<uint8_t*>(start.data()), start.size()});
  if (start.find(magic) == std::string::npos)
    throw core::DataError("{}: is a pickle, but none of torch.save. Load it with what wrote it, and save the tensors with torch.save or as safetensors.",
                          where);
  const Pickle number = read_pickle(file_, 0, file_.size()), version = read_pickle(file_, number.end, file_.size());
  if (!version.root->is(Kind::integer) || version.root->integer != 1001) throw core::DataError("{}: its version is not 1001, the one that is known", where);
  const Pickle machine = read_pickle(file_, version.end, file_.size());
  for (const auto& [name, value] : dictionary_items(*machine.root).value_or(Items{})) {
    if (name->text == "little_endian" && value->integer == 0)
      throw core::DataError("{}: was written by a big-endian machine. Load it with torch.load there, and save it anew on a little-endian one.", where);
  }
  pickle_ = read_pickle(file_, machine.end, file_.size());
  const Pickle keys = read_pickle(file_, pickle_.end, file_.size());
  const auto sizes = element_sizes(pickle_, where);
  uint64_t offset = keys.end;
  for (const PickleValue* key : keys.root->items) {
    const std::string what = fmt::format("{}: storage \"{}\"", where, key->text);
    const auto element = sizes.find(key->text);
    if (element == sizes.end()) throw core::DataError("{}: is of no type that is known", what);
    uint64_t elements = 0;
    file_.read_at(offset, {reinterpret_cast<uint8_t*>(&elements), sizeof(elements)});
    offset += sizeof(elements);
    const uint64_t size = core::checked_mul(elements, element->second, what.c_str());
    if (size > file_.size() - offset)
      throw core::DataError("{}: has {} bytes, the file {} behind its beginning. It was cut short: get it again.", what, size, file_.size() - offset);
    if (!ranges_.emplace(key->text, Range{offset, size, {}}).second) throw core::DataError("{}: occurs twice", what);
    offset += size;
  }
  if (offset != file_.size()) throw core::DataError("{}: {} bytes follow the last storage. Is it several files in one?", where, file_.size() - offset);
}

std::map<std::string, int64_t> TorchFile::strangers() const {
  std::map<std::string, int64_t> counts;
  for (const PickleValue& value : pickle_.values) {
    if (value.is(Kind::global) && !is_known(value.text)) counts[value.text] += 0;
    if (value.is(Kind::object) && !is_known(value.items[0]->text)) counts[value.items[0]->text] += 1;
    if (value.made_by("numpy.dtype") && !value.items[1]->items.empty() && value.items[1]->items[0]->text.starts_with("O")) counts["numpy.dtype(\"O\")"] += 1;
    if (value.is(Kind::persistent) && !storage_id(value)) counts["a persistent object"] += 1;
  }
  return counts;
}

const at::Tensor& TorchFile::storage(const std::string& key, const std::string& where) {
  if (const auto found = loaded_.find(key); found != loaded_.end()) return found->second;
  const auto range = ranges_.find(key);
  if (range == ranges_.end()) throw core::DataError("{}: its storage \"{}\" is missing in the file", where, key);
  const at::Tensor bytes = at::empty({core::checked_cast<int64_t>(range->second.size, where.c_str())}, at::kByte);
  const std::span<uint8_t> into(bytes.data_ptr<uint8_t>(), range->second.size);
  file_.read_at(range->second.offset, into);
  if (range->second.crc32 && crc32(into) != *range->second.crc32)
    throw core::DataError("{}: its storage \"{}\" is damaged: its CRC-32 does not fit. Get the file again.", where, key);
  return loaded_.emplace(key, bytes).first->second;
}

/// Arguments: storage, offset, shape, strides; version 2 adds requires_grad, hooks, and lazy conjugations or negations where there are some.
at::Tensor TorchFile::strided(const PickleValue& arguments, const std::string& where) {
  const auto& given = arguments.items;
  const auto id = given.size() >= 4 && given[1]->is(Kind::integer) && given[1]->integer >= 0 ? storage_id(*given[0]) : std::nullopt;
  if (!id) throw core::DataError("{}: is not described as torch.save does it", where);
  if (id->view)
    throw core::DataError("{}: its storage is a view of another one, as PyTorch before 0.4 could write it. Load it with torch.load, save it anew.", where);
  if (!id->type || !id->type->type) throw core::DataError("{}: is of type {}, which is not converted", where, id->type_name);
  if (given.size() > 6 && !given[6]->items.empty())
    throw core::DataError("{}: is conjugated or negated lazily. In Python: save .resolve_conj().resolve_neg()", where);
  const auto shape = sizes_of(*given[2], where), strides = sizes_of(*given[3], where);
  const int64_t offset = given[1]->integer;
  const Extent extent = extent_of(shape, strides, offset, id->type->bytes, where);
  tensor_bytes_ = core::checked_add(tensor_bytes_, extent.bytes, where.c_str());
  if (tensor_bytes_ / most_copies > file_.size() + small_bytes)
    throw core::DataError(
        "{}: up to it the tensors need {} bytes, the file has {}: many are views of one storage, or expanded. In Python: save what they "
        "are made of.",
        where, tensor_bytes_, file_.size());
  const at::Tensor& bytes = storage(id->key, where);
  const int64_t elements = bytes.numel() / static_cast<int64_t>(id->type->bytes);
  if (id->elements > elements || extent.elements > id->elements)
    throw core::DataError("{}: needs {} elements, its storage \"{}\" states {} and has {}", where, extent.elements, id->key, id->elements, elements);
  const at::ScalarType type = *id->type->type;
  if (extent.bytes == 0) return at::empty(shape, type);
  const at::Tensor result = bytes.narrow(0, 0, elements * static_cast<int64_t>(id->type->bytes)).view(type).as_strided(shape, strides, offset).contiguous();
  if (type == at::kBool && result.view(at::kByte).gt(1).any().item<bool>()) throw core::DataError("{}: holds a BOOL that is neither 0 nor 1", where);
  return result;
}

at::Tensor TorchFile::tensor(const PickleValue& value, const std::string& name) {
  const std::string where = fmt::format("{}: \"{}\"", file_.path().string(), name);
  const PickleValue& inner = without_parameter(value);
  if (inner.state) throw core::DataError("{}: is changed after it was made", where);
  if (!inner.is(Kind::object) || !among(tensors, inner.items[0]->text))
    throw core::DataError("{}: is {}, which is not converted: only plain dense tensors are", where, describe(inner));
  return strided(*inner.items[1], where);
}

}  // namespace syncdr::io
