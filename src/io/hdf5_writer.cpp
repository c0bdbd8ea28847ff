#include <algorithm>

#include "hdf5_handle.h"
#include "syncdr/core/error.h"
#include "syncdr/io/hdf5.h"

namespace syncdr::io {

using detail::Handle;

struct Hdf5Writer::State {
  std::string path;
  Handle file, growing;  // growing: the dataset between begin_bytes and its last byte
  std::string growing_name;
  uint64_t growing_total = 0, growing_done = 0;

  [[noreturn]] void refuse(const std::string& what) const { throw core::IoError("{}: {} failed: {}", path, what, detail::hdf5_reason()); }

  Handle made(hid_t id, Handle::Close close, const std::string& what) const {
    if (id < 0) refuse(what);
    return Handle(id, close);
  }
  void check(herr_t status, const std::string& what) const {
    if (status < 0) refuse(what);
  }

  void create();
  void make_groups(const std::string& name) const;
  Handle create_dataset(const std::string& name, hid_t type, uint64_t length);
  void write(const std::string& name, hid_t file_type, hid_t memory_type, uint64_t length, const void* values);
  void attribute(const std::string& name, hid_t type, const void* value);
  Handle string_type(size_t length) const;
};

void Hdf5Writer::State::create() {
  const Handle access = made(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "creating a property list");
  const Handle creation = made(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "creating a property list");
  check(H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18), "choosing the format version");
  // A file that is closed while one of its objects is open must really close: a half-open one would be written to later.
  check(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "setting how the file closes");
  check(H5Pset_obj_track_times(creation, false), "switching time stamps off");
  file = made(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose, "creating the file");
}

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

Handle Hdf5Writer::State::create_dataset(const std::string& name, hid_t type, uint64_t length) {
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

void Hdf5Writer::State::write(const std::string& name, hid_t file_type, hid_t memory_type, uint64_t length, const void* values) {
  Handle dataset = create_dataset(name, file_type, length);
  if (length > 0) check(H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), "writing " + name);
  if (!dataset.close()) refuse("closing " + name);
}

void Hdf5Writer::State::attribute(const std::string& name, hid_t type, const void* value) {
  const Handle space = made(H5Screate(H5S_SCALAR), H5Sclose, "describing attribute " + name);
  Handle attribute = made(H5Acreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, "creating attribute " + name);
  check(H5Awrite(attribute, type, value), "writing attribute " + name);
  if (!attribute.close()) refuse("closing attribute " + name);
}

Handle Hdf5Writer::State::string_type(size_t length) const {
  Handle type = made(H5Tcopy(H5T_C_S1), H5Tclose, "describing a string");
  check(H5Tset_size(type, std::max<size_t>(length, 1)), "describing a string");  // HDF5 has no strings of length 0
  check(H5Tset_strpad(type, H5T_STR_NULLPAD), "describing a string");
  check(H5Tset_cset(type, H5T_CSET_UTF8), "describing a string");
  return type;
}

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : state_(std::make_unique<State>()) {
  const detail::Hdf5Guard guard;
  state_->path = path.string();
  state_->create();
}

Hdf5Writer::Hdf5Writer(Hdf5Writer&&) noexcept = default;

Hdf5Writer::~Hdf5Writer() {
  const detail::Hdf5Guard guard;
  state_.reset();
}

#define SYNCDR_HDF5_WRITE(Type, file_type, memory_type)                                        \
  void Hdf5Writer::write(const std::string& name, std::span<const Type> values) {              \
    const detail::Hdf5Guard guard;                                                             \
    state_->write(name, file_type, memory_type, values.size(), values.data());                 \
  }
SYNCDR_HDF5_WRITE(uint8_t, H5T_STD_U8LE, H5T_NATIVE_UINT8)
SYNCDR_HDF5_WRITE(uint32_t, H5T_STD_U32LE, H5T_NATIVE_UINT32)
SYNCDR_HDF5_WRITE(uint64_t, H5T_STD_U64LE, H5T_NATIVE_UINT64)
SYNCDR_HDF5_WRITE(int32_t, H5T_STD_I32LE, H5T_NATIVE_INT32)
SYNCDR_HDF5_WRITE(int64_t, H5T_STD_I64LE, H5T_NATIVE_INT64)
#undef SYNCDR_HDF5_WRITE

void Hdf5Writer::write(const std::string& name, const std::vector<std::string>& values) {
  size_t longest = 1;
  for (const std::string& value : values) {
    if (value.find('\0') != std::string::npos) throw core::DataError("{}: {}: a string holds a zero byte", state_->path, name);
    longest = std::max(longest, value.size());
  }
  std::vector<char> padded(values.size() * longest, '\0');
  for (size_t i = 0; i < values.size(); ++i) std::copy(values[i].begin(), values[i].end(), padded.begin() + static_cast<ptrdiff_t>(i * longest));
  const detail::Hdf5Guard guard;
  const Handle type = state_->string_type(longest);
  state_->write(name, type, type, values.size(), padded.data());
}

void Hdf5Writer::attribute(const std::string& name, const std::string& value) {
  if (value.find('\0') != std::string::npos) throw core::DataError("{}: attribute {} holds a zero byte", state_->path, name);
  const detail::Hdf5Guard guard;
  state_->attribute(name, state_->string_type(value.size()), value.c_str());
}

void Hdf5Writer::attribute(const std::string& name, int64_t value) {
  const detail::Hdf5Guard guard;
  state_->attribute(name, H5T_STD_I64LE, &value);  // the host is little-endian too (see safetensors.cpp)
}

void Hdf5Writer::begin_bytes(const std::string& name, uint64_t total) {
  const detail::Hdf5Guard guard;
  SYNCDR_ASSERT(!state_->growing.valid(), "{} is begun while {} is not full", name, state_->growing_name);
  state_->growing = state_->create_dataset(name, H5T_STD_U8LE, total);
  state_->growing_name = name;
  state_->growing_total = total;
  state_->growing_done = 0;
}

void Hdf5Writer::append_bytes(std::span<const uint8_t> values) {
  const detail::Hdf5Guard guard;
  State& state = *state_;
  SYNCDR_ASSERT(state.growing.valid() && values.size() <= state.growing_total - state.growing_done, "{} bytes more than the {} of {}", values.size(),
                state.growing_total, state.growing_name);
  if (values.empty()) return;
  const hsize_t start = state.growing_done, count = values.size();
  const Handle from = state.made(H5Screate_simple(1, &count, nullptr), H5Sclose, "describing memory");
  const Handle to = state.made(H5Dget_space(state.growing), H5Sclose, "describing " + state.growing_name);
  state.check(H5Sselect_hyperslab(to, H5S_SELECT_SET, &start, nullptr, &count, nullptr), "selecting in " + state.growing_name);
  state.check(H5Dwrite(state.growing, H5T_NATIVE_UINT8, from, to, H5P_DEFAULT, values.data()), "writing " + state.growing_name);
  state.growing_done += values.size();
}

void Hdf5Writer::close() {
  const detail::Hdf5Guard guard;
  State& state = *state_;
  SYNCDR_ASSERT(state.growing_done == state.growing_total, "{} has {} of {} bytes", state.growing_name, state.growing_done, state.growing_total);
  if (state.growing.valid() && !state.growing.close()) state.refuse("closing " + state.growing_name);
  // H5Fclose returns success even where the disk is full; the flush before it does not.
  state.check(H5Fflush(state.file, H5F_SCOPE_GLOBAL), "flushing the file");
  if (!state.file.close()) state.refuse("closing the file");
}

}  // namespace syncdr::io
