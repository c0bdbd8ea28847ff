#include "syncdr/io/hdf5.h"

#include <fcntl.h>
#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <type_traits>
#include <utility>

#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/io/file.h"

namespace syncdr::io {
namespace {

constexpr size_t max_attribute = size_t{16} << 20;
constexpr uint64_t at_once = uint64_t{8} << 20;  // so much is handed to the disk at a time

/// HDF5's own build may or may not be thread-safe: holding this makes it so. Recursive, and it stops HDF5 from printing its error stack (a setting
/// of each thread).
class Hdf5Guard {
 public:
  Hdf5Guard() : lock_(library_lock()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

 private:
  static std::recursive_mutex& library_lock() {
    // Never destroyed: static objects of other files may close HDF5 files after this one would be gone.
    static auto* lock = [] {
      // All files are closed here. What HDF5 1.10 does at the exit of a process that could not close one (the disk was full) may crash.
      H5dont_atexit();
      return new std::recursive_mutex;
    }();
    return *lock;
  }

  std::lock_guard<std::recursive_mutex> lock_;
};

/// What the innermost entry of this thread's HDF5 error stack says, e.g. "file signature not found".
std::string hdf5_reason() {
  const auto keep_first = [](unsigned, const H5E_error2_t* entry, void* text) -> herr_t {
    auto& reason = *static_cast<std::string*>(text);
    if (reason.empty() && entry->desc && *entry->desc) reason = entry->desc;
    return 0;
  };
  std::string reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &reason);  // upward: from the innermost function
  return reason.empty() ? "HDF5 gives no reason" : "HDF5 says: " + reason;
}

/// An identifier and the function that closes it.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close function) : id_(id), close_(function) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (valid()) close_(id_);
  }
  bool valid() const { return id_ >= 0; }
  operator hid_t() const { return id_; }
  /// Closes now; false if HDF5 refuses.
  bool close() { return close_(std::exchange(id_, H5I_INVALID_HID)) >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

/// A number in the file: as in memory, for the host is little-endian (see safetensors.cpp).
struct NumberType {
  hid_t id;
  const char* name;
};

template <class Value> NumberType number_type() {
  if constexpr (std::is_same_v<Value, uint8_t>) return {H5T_STD_U8LE, "uint8_t"};
  if constexpr (std::is_same_v<Value, uint32_t>) return {H5T_STD_U32LE, "uint32_t"};
  if constexpr (std::is_same_v<Value, uint64_t>) return {H5T_STD_U64LE, "uint64_t"};
  if constexpr (std::is_same_v<Value, int32_t>) return {H5T_STD_I32LE, "int32_t"};
  if constexpr (std::is_same_v<Value, int64_t>) return {H5T_STD_I64LE, "int64_t"};
  if constexpr (std::is_same_v<Value, float>) return {H5T_IEEE_F32LE, "float"};
}

bool is_fixed_string(hid_t type) { return type >= 0 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0; }

}  // namespace

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

struct Hdf5Writer::State {
  std::string path;
  Handle file;

  [[noreturn]] void refuse(const std::string& what) const { throw core::IoError("{}: {} failed: {}", path, what, hdf5_reason()); }

  Handle made(hid_t id, Handle::Close close, const std::string& what) const {
    if (id < 0) refuse(what);
    return Handle(id, close);
  }
  void check(herr_t status, const std::string& what) const {
    if (status < 0) refuse(what);
  }

  void make_groups(const std::string& name) const;
  Handle create_dataset(const std::string& name, hid_t type, uint64_t length) const;
  void write(const std::string& name, hid_t type, uint64_t length, const void* values) const;
  void attribute(const std::string& name, hid_t type, const void* value) const;
  Handle string_type(size_t length) const;
  void finish(Handle& handle, const std::string& what) const {
    if (!handle.close()) refuse("closing " + what);
  }
};

/// HDF5 can make missing groups by itself, but then gives them time stamps.
void Hdf5Writer::State::make_groups(const std::string& name) const {
  const Handle creation = made(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "creating a property list");
  check(H5Pset_obj_track_times(creation, false), "switching time stamps off");
  for (size_t end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string group = name.substr(0, end);
    const htri_t there = H5Lexists(file, group.c_str(), H5P_DEFAULT);
    check(there, "looking for " + group);
    if (there == 0) made(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, creation, H5P_DEFAULT), H5Gclose, "creating " + group);
  }
}

Handle Hdf5Writer::State::create_dataset(const std::string& name, hid_t type, uint64_t length) const {
  const hsize_t size = length;
  const Handle space = made(H5Screate_simple(1, &size, nullptr), H5Sclose, "describing " + name);
  const Handle creation = made(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "creating a property list");
  check(H5Pset_layout(creation, H5D_CONTIGUOUS), "choosing the layout of " + name);
  check(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), "choosing when to allocate " + name);
  check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), "switching filling off");  // else every byte is written twice
  check(H5Pset_obj_track_times(creation, false), "switching time stamps off");
  make_groups(name);
  return made(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT), H5Dclose, "creating " + name);
}

void Hdf5Writer::State::write(const std::string& name, hid_t type, uint64_t length, const void* values) const {
  Handle dataset = create_dataset(name, type, length);
  if (length > 0) check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "writing " + name);
  finish(dataset, name);
}

void Hdf5Writer::State::attribute(const std::string& name, hid_t type, const void* value) const {
  const Handle space = made(H5Screate(H5S_SCALAR), H5Sclose, "describing attribute " + name);
  Handle attribute = made(H5Acreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, "creating attribute " + name);
  check(H5Awrite(attribute, type, value), "writing attribute " + name);
  finish(attribute, "attribute " + name);
}

Handle Hdf5Writer::State::string_type(size_t length) const {
  Handle type = made(H5Tcopy(H5T_C_S1), H5Tclose, "describing a string");
  check(H5Tset_size(type, std::max<size_t>(length, 1)), "describing a string");  // HDF5 has no strings of length 0
  check(H5Tset_strpad(type, H5T_STR_NULLPAD), "describing a string");
  check(H5Tset_cset(type, H5T_CSET_UTF8), "describing a string");
  return type;
}

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : state_(new State{.path = path.string()}) {
  const Hdf5Guard guard;
  State& state = *state_;
  const Handle access = state.made(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "creating a property list");
  const Handle creation = state.made(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "creating a property list");
  state.check(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18), "choosing the format version");
  // A file that is closed while one of its objects is open must really close: a half-open one would be written to later.
  // What is written nobody else knows yet, and what is sealed never changes: locks would keep nobody out, and NFS and Lustre may have none.
  state.check(H5Pset_file_locking(access, false, true), "switching locks off");
  state.check(H5Pset_fapl_sec2(access), "choosing the driver");  // whose descriptor write_parts writes to, whatever HDF5_DRIVER says
  state.check(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "setting how the file closes");
  state.check(H5Pset_obj_track_times(creation, false), "switching time stamps off");
  state.file = state.made(H5Fcreate(state.path.c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose, "creating the file");
}

Hdf5Writer::~Hdf5Writer() {
  const Hdf5Guard guard;
  state_.reset();
}

template <class Value> void Hdf5Writer::write(const std::string& name, const std::vector<Value>& values) {
  const Hdf5Guard guard;
  state_->write(name, number_type<Value>().id, values.size(), values.data());
}
template void Hdf5Writer::write(const std::string&, const std::vector<uint8_t>&);
template void Hdf5Writer::write(const std::string&, const std::vector<uint32_t>&);
template void Hdf5Writer::write(const std::string&, const std::vector<uint64_t>&);
template void Hdf5Writer::write(const std::string&, const std::vector<int32_t>&);
template void Hdf5Writer::write(const std::string&, const std::vector<int64_t>&);
template void Hdf5Writer::write(const std::string&, const std::vector<float>&);

template <> void Hdf5Writer::write(const std::string& name, const std::vector<std::string>& values) {
  size_t longest = 1;
  for (const std::string& value : values) {
    if (value.find('\0') != std::string::npos) throw core::DataError("{}: {}: a string holds a zero byte", state_->path, name);
    longest = std::max(longest, value.size());
  }
  std::vector<char> padded(values.size() * longest, '\0');
  for (size_t i = 0; i < values.size(); ++i) std::copy(values[i].begin(), values[i].end(), padded.begin() + static_cast<ptrdiff_t>(i * longest));
  const Hdf5Guard guard;
  const Handle type = state_->string_type(longest);
  state_->write(name, type, values.size(), padded.data());
}

void Hdf5Writer::attribute(const std::string& name, const std::string& value) {
  if (value.find('\0') != std::string::npos) throw core::DataError("{}: attribute {} holds a zero byte", state_->path, name);
  const Hdf5Guard guard;
  state_->attribute(name, state_->string_type(value.size()), value.c_str());
}

void Hdf5Writer::attribute(const std::string& name, int64_t value) {
  const Hdf5Guard guard;
  state_->attribute(name, number_type<int64_t>().id, &value);
}

/// Straight to their place in the file: HDF5 reads what a piece of its buffer covers before it writes to it, though nothing is there yet.
void Hdf5Writer::write_parts(const std::string& name, const std::vector<std::span<const uint8_t>>& parts) {
  uint64_t total = 0;
  for (const auto part : parts) total += part.size();
  uint64_t offset = 0;
  void* descriptor = nullptr;
  {
    const Hdf5Guard guard;
    Handle dataset = state_->create_dataset(name, H5T_STD_U8LE, total);
    if (total > 0) {
      offset = H5Dget_offset(dataset);
      if (offset == HADDR_UNDEF) state_->refuse("placing " + name);
      state_->check(H5Fget_vfd_handle(state_->file, H5P_DEFAULT, &descriptor), "asking for the descriptor");
    }
    state_->finish(dataset, name);
  }
  if (total == 0) return;
  const int file = *static_cast<const int*>(descriptor);
  uint64_t begun = offset;  // up to here the disk is at work
  for (const auto part : parts) {
    write_at(file, offset, part, state_->path);
    offset += part.size();
    if (offset - begun < at_once) continue;
    // The disk begins now, not only when the file is synced. Where the system cannot do that, nothing is lost: who wants the file on disk syncs it.
    ::sync_file_range(file, static_cast<off_t>(begun), static_cast<off_t>(offset - begun), SYNC_FILE_RANGE_WRITE);
    begun = offset;
  }
}

void Hdf5Writer::close() {
  const Hdf5Guard guard;
  // H5Fclose returns success even where the disk is full; the flush before it does not.
  state_->check(H5Fflush(state_->file, H5F_SCOPE_GLOBAL), "flushing the file");
  state_->finish(state_->file, "the file");
}

struct Hdf5Reader::State {
  InputFile input;
  Handle file;

  template <class... Args> [[noreturn]] void refuse(const std::string& name, fmt::format_string<Args...> format, Args&&... args) const {
    throw core::DataError("{}: {}: {}", input.path().string(), name, fmt::format(format, std::forward<Args>(args)...));
  }
  Handle opened(hid_t id, Handle::Close close, const std::string& name, const char* what = "") const {
    if (id < 0) refuse(name, "{}{}", what, hdf5_reason());
    return {id, close};
  }

  bool exists(const std::string& name) const;
  Handle open(const std::string& name) const;
  Extent extent(const std::string& name, hid_t dataset) const;
  Handle attribute(const std::string& name) const;
};

/// Walks the path link by link: H5Dopen alone would follow a soft link, or an external link into another file.
bool Hdf5Reader::State::exists(const std::string& name) const {
  for (size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string part = name.substr(0, end);
    const htri_t there = H5Lexists(file, part.c_str(), H5P_DEFAULT);
    if (there < 0) refuse(part, "{}", hdf5_reason());
    if (there == 0) return false;
    H5L_info_t info;
    if (H5Lget_info(file, part.c_str(), &info, H5P_DEFAULT) < 0) refuse(part, "{}", hdf5_reason());
    if (info.type != H5L_TYPE_HARD) refuse(part, "is a link to somewhere else; links are not followed");
    if (end == std::string::npos) return true;
  }
}

Handle Hdf5Reader::State::open(const std::string& name) const {
  if (!exists(name)) refuse(name, "is missing");
  return opened(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, name, "is no dataset that can be read: ");
}

Extent Hdf5Reader::State::extent(const std::string& name, hid_t dataset) const {
  const Handle creation = opened(H5Dget_create_plist(dataset), H5Pclose, name), type = opened(H5Dget_type(dataset), H5Tclose, name);
  if (H5Pget_layout(creation) != H5D_CONTIGUOUS) refuse(name, "is not contiguous");
  if (H5Pget_nfilters(creation) != 0) refuse(name, "is filtered (compressed)");
  if (H5Pget_external_count(creation) != 0) refuse(name, "lies in another file; such are not read");
  const Handle space = opened(H5Dget_space(dataset), H5Sclose, name);
  hsize_t length = 0;
  if (H5Sget_simple_extent_type(space) != H5S_SIMPLE || H5Sget_simple_extent_ndims(space) != 1 || H5Sget_simple_extent_dims(space, &length, nullptr) != 1)
    refuse(name, "has not exactly one dimension");
  Extent extent;
  extent.bytes = core::checked_mul<uint64_t>(length, H5Tget_size(type), name.c_str());
  if (extent.bytes == 0) return extent;  // an empty dataset has no place
  extent.offset = H5Dget_offset(dataset);
  if (extent.offset == HADDR_UNDEF) refuse(name, "was never written");
  const uint64_t end = core::checked_add(extent.offset, extent.bytes, name.c_str());
  if (end > input.size()) refuse(name, "needs bytes {} to {}, the file ends at {}. It was cut short.", extent.offset, end, input.size());
  return extent;
}

Handle Hdf5Reader::State::attribute(const std::string& name) const {
  Handle attribute = opened(H5Aopen(file, name.c_str(), H5P_DEFAULT), H5Aclose, name, "the attribute is missing or broken: ");
  const Handle space(H5Aget_space(attribute), H5Sclose);
  if (!space.valid() || H5Sget_simple_extent_type(space) != H5S_SCALAR) refuse(name, "the attribute is no single value");
  return attribute;
}

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) : state_(new State{.input = InputFile(path)}) {
  const Hdf5Guard guard;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!access.valid() || H5Pset_file_locking(access, false, true) < 0) throw core::IoError("{}: HDF5 cannot open files: {}", path.string(), hdf5_reason());
  state_->file = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access), H5Fclose);
  if (state_->file.valid()) return;
  const std::string reason = hdf5_reason();
  if (reason.find("unable to lock file") != std::string::npos)
    throw core::IoError("{}: another program has locked it: {}. Unset HDF5_USE_FILE_LOCKING, or wait", path.string(), reason);
  throw core::DataError("{}: is no complete HDF5 file: {}", path.string(), reason);
}

Hdf5Reader::~Hdf5Reader() {
  const Hdf5Guard guard;
  state_.reset();
}

bool Hdf5Reader::has(const std::string& name) const {
  const Hdf5Guard guard;
  return state_->exists(name);
}

Extent Hdf5Reader::extent(const std::string& name) const {
  const Hdf5Guard guard;
  return state_->extent(name, state_->open(name));
}

template <class Value> std::vector<Value> Hdf5Reader::read(const std::string& name) const {
  const Hdf5Guard guard;
  const Handle dataset = state_->open(name);
  const Handle stored(H5Dget_type(dataset), H5Tclose);
  const auto type = number_type<Value>();
  if (!stored.valid() || H5Tequal(stored, type.id) <= 0) state_->refuse(name, "is not of type {}, little-endian", type.name);
  const Extent place = state_->extent(name, dataset);
  std::vector<Value> values(place.bytes / sizeof(Value));
  state_->input.read_at(place.offset, {reinterpret_cast<uint8_t*>(values.data()), place.bytes});
  return values;
}
template std::vector<uint8_t> Hdf5Reader::read(const std::string&) const;
template std::vector<uint32_t> Hdf5Reader::read(const std::string&) const;
template std::vector<uint64_t> Hdf5Reader::read(const std::string&) const;
template std::vector<int32_t> Hdf5Reader::read(const std::string&) const;
template std::vector<int64_t> Hdf5Reader::read(const std::string&) const;
template std::vector<float> Hdf5Reader::read(const std::string&) const;

template <> std::vector<std::string> Hdf5Reader::read(const std::string& name) const {
  const Hdf5Guard guard;
  const Handle dataset = state_->open(name);
  const Handle type(H5Dget_type(dataset), H5Tclose);
  if (!is_fixed_string(type)) state_->refuse(name, "does not hold strings of fixed length");
  const Extent place = state_->extent(name, dataset);
  std::vector<uint8_t> padded(place.bytes);
  state_->input.read_at(place.offset, padded);
  const size_t width = H5Tget_size(type);
  std::vector<std::string> values(width == 0 ? 0 : padded.size() / width);
  for (size_t i = 0; i < values.size(); ++i) {
    const char* text = reinterpret_cast<const char*>(padded.data()) + i * width;
    values[i].assign(text, strnlen(text, width));
  }
  return values;
}

std::string Hdf5Reader::string_attribute(const std::string& name) const {
  const Hdf5Guard guard;
  const Handle attribute = state_->attribute(name);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  if (!is_fixed_string(type)) state_->refuse(name, "the attribute is no string of fixed length");
  const size_t width = H5Tget_size(type);
  // The file must at least hold what it claims: nothing larger than itself is allocated.
  if (width > std::min<uint64_t>(max_attribute, state_->input.size())) state_->refuse(name, "the attribute claims {} bytes", width);
  std::string text(width, '\0');
  if (H5Aread(attribute, type, text.data()) < 0) state_->refuse(name, "the attribute cannot be read: {}", hdf5_reason());
  text.resize(strnlen(text.data(), width));
  return text;
}

int64_t Hdf5Reader::int_attribute(const std::string& name) const {
  const Hdf5Guard guard;
  const Handle attribute = state_->attribute(name);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  if (!type.valid() || H5Tequal(type, H5T_STD_I64LE) <= 0) state_->refuse(name, "the attribute is no integer of 64 bits");
  int64_t value = 0;
  if (H5Aread(attribute, H5T_NATIVE_INT64, &value) < 0) state_->refuse(name, "the attribute cannot be read: {}", hdf5_reason());
  return value;
}

bool Hdf5Reader::has_attribute(const std::string& name) const {
  const Hdf5Guard guard;
  const htri_t there = H5Aexists(state_->file, name.c_str());
  if (there < 0) state_->refuse(name, "{}", hdf5_reason());
  return there > 0;
}

}  // namespace syncdr::io
