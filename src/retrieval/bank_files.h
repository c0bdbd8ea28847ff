#pragma once
#include <filesystem>

#include "syncdr/io/safetensors.h"
#include "syncdr/retrieval/memory_bank.h"

/// Memory banks in a checkpoint: replicated ones as tensors "bank.K" of rank 0, sharded ones as a file "bank.K.FIRST-LAST.safetensors" of each rank. Either is
/// read by either, on any number of ranks.
namespace syncdr::retrieval {

/// The replicated ones.
void put_banks(io::NamedTensors& into, const std::vector<MemoryBank>& banks);
/// This rank's parts of the sharded ones.
void save_bank_parts(const std::filesystem::path& folder, const std::vector<MemoryBank>& banks);
/// Sets the rows of all banks. Throws DataError if some are missing in tensors and in the folder, or do not fit.
void restore_banks(const io::NamedTensors& tensors, const std::filesystem::path& folder, std::vector<MemoryBank>& banks);

}  // namespace syncdr::retrieval
