#include <cstring>

#include "hdf5_handle.h"
#include "syncdr/core/checked.h"
#include "syncdr/core/error.h"
#include "syncdr/io/file.h"
#include "syncdr/io/hdf5.h"

namespace syncdr::io {

using detail::Handle;

namespace {

constexpr size_t max_attribute = size_t{16} << 20;

Handle open_file(const InputFile& input) {
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!access.valid()) throw core::DataError("{}: {}", input.path().string(), detail::hdf5_reason());
  Handle file(H5Fopen(input.path().c_str(), H5F_ACC_RDONLY, access), H5Fclose);
  if (!file.valid()) throw core::DataError("{}: is no complete HDF5 file: {}", input.path().string(), detail::hdf5_reason());
  return file;
}

}  // namespace

struct Hdf5Reader::State {
  explicit State(const std::filesystem::path& path) : input(path), file(open_file(input)) {}

  InputFile input;
  Handle file;

  template <class... Args> [[noreturn]] void refuse(const std::string& name, fmt::format_string<Args...> format, Args&&... args) const {
    throw core::DataError("{}: {}: {}", input.path().string(), name, fmt::format(format, std::forward<Args>(args)...));
  }

  bool exists(const std::string& name) const;
  Handle open(const std::string& name) const;
  uint64_t length(const std::string& name, hid_t dataset) const;
  Extent extent(const std::string& name, hid_t dataset) const;
  template <class T> std::vector<T> read(const std::string& name, hid_t type, const char* type_name) const;
  Handle attribute(const std::string& name) const;
};

/// Walks the path link by link: H5Dopen alone would follow a soft link, or an external link into another file.
bool Hdf5Reader::State::exists(const std::string& name) const {
  for (size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string part = name.substr(0, end);
    const htri_t there = H5Lexists(file, part.c_str(), H5P_DEFAULT);
    if (there < 0) refuse(part, "{}", detail::hdf5_reason());
    if (there == 0) return false;
    H5L_info_t info;
    if (H5Lget_info(file, part.c_str(), &info, H5P_DEFAULT) < 0) refuse(part, "{}", detail::hdf5_reason());
    if (info.type != H5L_TYPE_HARD) refuse(part, "is a link to somewhere else; links are not followed");
    if (end == std::string::npos) return true;
  }
}

Handle Hdf5Reader::State::open(const std::string& name) const {
  if (!exists(name)) refuse(name, "is missing");
  Handle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.valid()) refuse(name, "is no dataset that can be read: {}", detail::hdf5_reason());
  return dataset;
}

uint64_t Hdf5Reader::State::length(const std::string& name, hid_t dataset) const {
  const Handle space(H5Dget_space(dataset), H5Sclose);
  if (!space.valid()) refuse(name, "{}", detail::hdf5_reason());
  hsize_t size = 0;
  if (H5Sget_simple_extent_type(space) != H5S_SIMPLE || H5Sget_simple_extent_ndims(space) != 1 || H5Sget_simple_extent_dims(space, &size, nullptr) != 1) {
    refuse(name, "has not exactly one dimension");
  }
  return size;
}

Extent Hdf5Reader::State::extent(const std::string& name, hid_t dataset) const {
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose), type(H5Dget_type(dataset), H5Tclose);
  if (!creation.valid() || !type.valid()) refuse(name, "{}", detail::hdf5_reason());
  if (H5Pget_layout(creation) != H5D_CONTIGUOUS) refuse(name, "is not contiguous");
  if (H5Pget_nfilters(creation) != 0) refuse(name, "is filtered (compressed)");
  if (H5Pget_external_count(creation) != 0) refuse(name, "lies in another file; such are not read");
  Extent extent;
  extent.bytes = core::checked_mul<uint64_t>(length(name, dataset), H5Tget_size(type), name.c_str());
  if (extent.bytes == 0) return extent;  // an empty dataset has no place
  extent.offset = H5Dget_offset(dataset);
  if (extent.offset == HADDR_UNDEF) refuse(name, "was never written");
  const uint64_t end = core::checked_add(extent.offset, extent.bytes, name.c_str());
  if (end > input.size()) refuse(name, "needs bytes {} to {}, the file ends at {}. It was cut short.", extent.offset, end, input.size());
  return extent;
}

template <class T> std::vector<T> Hdf5Reader::State::read(const std::string& name, hid_t type, const char* type_name) const {
  const Handle dataset = open(name);
  const Handle stored(H5Dget_type(dataset), H5Tclose);
  if (!stored.valid() || H5Tequal(stored, type) <= 0) refuse(name, "is not of type {}", type_name);
  const Extent place = extent(name, dataset);
  std::vector<T> values(place.bytes / sizeof(T));
  input.read_at(place.offset, {reinterpret_cast<uint8_t*>(values.data()), place.bytes});
  return values;
}

Handle Hdf5Reader::State::attribute(const std::string& name) const {
  Handle attribute(H5Aopen(file, name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute.valid()) refuse(name, "the attribute is missing or broken: {}", detail::hdf5_reason());
  const Handle space(H5Aget_space(attribute), H5Sclose);
  if (!space.valid() || H5Sget_simple_extent_type(space) != H5S_SCALAR) refuse(name, "the attribute is no single value");
  return attribute;
}

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) {
  const detail::Hdf5Guard guard;
  state_ = std::make_unique<State>(path);
}

Hdf5Reader::Hdf5Reader(Hdf5Reader&&) noexcept = default;

Hdf5Reader::~Hdf5Reader() {
  const detail::Hdf5Guard guard;
  state_.reset();
}

bool Hdf5Reader::has(const std::string& name) const {
  const detail::Hdf5Guard guard;
  return state_->exists(name);
}

uint64_t Hdf5Reader::length(const std::string& name) const {
  const detail::Hdf5Guard guard;
  return state_->length(name, state_->open(name));
}

#define SYNCDR_HDF5_READ(function, Type, type)                                  \
  std::vector<Type> Hdf5Reader::function(const std::string& name) const {       \
    const detail::Hdf5Guard guard;                                              \
    return state_->read<Type>(name, type, #Type ", little-endian");             \
  }
SYNCDR_HDF5_READ(read_u8, uint8_t, H5T_STD_U8LE)
SYNCDR_HDF5_READ(read_u32, uint32_t, H5T_STD_U32LE)
SYNCDR_HDF5_READ(read_u64, uint64_t, H5T_STD_U64LE)
SYNCDR_HDF5_READ(read_i32, int32_t, H5T_STD_I32LE)
SYNCDR_HDF5_READ(read_i64, int64_t, H5T_STD_I64LE)
#undef SYNCDR_HDF5_READ

std::vector<std::string> Hdf5Reader::read_strings(const std::string& name) const {
  const detail::Hdf5Guard guard;
  const Handle dataset = state_->open(name);
  const Handle type(H5Dget_type(dataset), H5Tclose);
  if (!type.valid() || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0) state_->refuse(name, "does not hold strings of fixed length");
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
  const detail::Hdf5Guard guard;
  const Handle attribute = state_->attribute(name);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  if (!type.valid() || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0) state_->refuse(name, "the attribute is no string of fixed length");
  const size_t width = H5Tget_size(type);
  // The file must at least hold what it claims: nothing larger than itself is allocated.
  if (width > std::min<uint64_t>(max_attribute, state_->input.size())) state_->refuse(name, "the attribute claims {} bytes", width);
  std::string text(width, '\0');
  if (H5Aread(attribute, type, text.data()) < 0) state_->refuse(name, "the attribute cannot be read: {}", detail::hdf5_reason());
  text.resize(strnlen(text.data(), width));
  return text;
}

int64_t Hdf5Reader::int_attribute(const std::string& name) const {
  const detail::Hdf5Guard guard;
  const Handle attribute = state_->attribute(name);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  if (!type.valid() || H5Tequal(type, H5T_STD_I64LE) <= 0) state_->refuse(name, "the attribute is no integer of 64 bits");
  int64_t value = 0;
  if (H5Aread(attribute, H5T_NATIVE_INT64, &value) < 0) state_->refuse(name, "the attribute cannot be read: {}", detail::hdf5_reason());
  return value;
}

bool Hdf5Reader::has_attribute(const std::string& name) const {
  const detail::Hdf5Guard guard;
  const htri_t there = H5Aexists(state_->file, name.c_str());
  if (there < 0) state_->refuse(name, "{}", detail::hdf5_reason());
  return there > 0;
}

Extent Hdf5Reader::extent(const std::string& name) const {
  const detail::Hdf5Guard guard;
  return state_->extent(name, state_->open(name));
}

}  // namespace syncdr::io
