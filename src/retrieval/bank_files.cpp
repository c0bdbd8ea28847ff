#include "bank_files.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <charconv>
#include <map>
#include <system_error>

#include "syncdr/core/error.h"

namespace syncdr::retrieval {
namespace {

namespace fs = std::filesystem;

/// Reads "FIRST-LAST.safetensors". Nothing for other texts.
std::optional<training::Part> part_named(std::string_view text) {
  training::Part part;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, part.first);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '-') return std::nullopt;
  const auto last = std::from_chars(first.ptr + 1, end, part.last);
  if (last.ec != std::errc() || std::string_view(last.ptr, end) != ".safetensors") return std::nullopt;
  return part;
}

/// A bank's files by their first row.
std::map<int64_t, std::pair<training::Part, fs::path>> parts_in(const fs::path& folder, size_t bank) {
  std::map<int64_t, std::pair<training::Part, fs::path>> found;
  const std::string prefix = fmt::format("bank.{}.", bank);
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    if (const auto part = part_named(std::string_view(name).substr(prefix.size()))) found.emplace(part->first, std::pair(*part, entry->path()));
  }
  return found;
}

void put_rows(MemoryBank& bank, training::Part part, const at::Tensor& rows, const std::string& where) {
  if (rows.sizes() != at::IntArrayRef({part.size(), bank.rows().size(1)})) {
    throw core::DataError("{}: {} numbers of a memory bank, not {} x {}", where, fmt::join(rows.sizes(), " x "), part.size(), bank.rows().size(1));
  }
  bank.put(at::arange(part.first, part.last, at::kLong), rows);
}

void restore_parts(MemoryBank& bank, size_t k, const fs::path& folder) {
  int64_t next = 0;
  for (const auto& [first, item] : parts_in(folder, k)) {
    const auto& [part, file] = item;
    if (first != next || part.last <= first) break;
    next = part.last;
    if (part.last <= bank.part().first || part.first >= bank.part().last) continue;
    const io::NamedTensors tensors = io::read_safetensors(file).tensors;
    const auto rows = tensors.find("rows");
    if (rows == tensors.end()) throw core::DataError("{}: holds no rows", file.string());
    put_rows(bank, part, rows->second, file.string());
  }
  if (next != bank.size()) {
    throw core::DataError("{}: memory bank {} has {} rows without a gap, the training set {} entries", folder.string(), k, next, bank.size());
  }
}

}  // namespace

void put_banks(io::NamedTensors& into, const std::vector<MemoryBank>& banks) {
  for (size_t k = 0; k < banks.size(); ++k) {
    if (!banks[k].world()) into.emplace(fmt::format("bank.{}", k), banks[k].rows());
  }
}

void save_bank_parts(const fs::path& folder, const std::vector<MemoryBank>& banks) {
  for (size_t k = 0; k < banks.size(); ++k) {
    const training::Part part = banks[k].part();
    if (banks[k].world()) io::write_safetensors(folder / fmt::format("bank.{}.{}-{}.safetensors", k, part.first, part.last), {{"rows", banks[k].rows()}});
  }
}

void restore_banks(const io::NamedTensors& tensors, const fs::path& folder, std::vector<MemoryBank>& banks) {
  for (size_t k = 0; k < banks.size(); ++k) {
    const std::string name = fmt::format("bank.{}", k);
    const auto whole = tensors.find(name);
    if (whole == tensors.end()) {
      restore_parts(banks[k], k, folder);
    } else {
      put_rows(banks[k], {0, banks[k].size()}, whole->second, (folder / "tensors.safetensors").string() + ": " + name);
    }
  }
}

}  // namespace syncdr::retrieval
