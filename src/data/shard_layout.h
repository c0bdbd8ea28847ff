#pragma once
#include <string>
#include <vector>

#include "syncdr/data/shard.h"

/// Names in a shard and the rules that writer and reader share; README.md describes them.
namespace syncdr::data::layout {

inline constexpr const char* format = "syncdr-shard";
inline constexpr const char* created_by = "syncdr 0.1.0";

inline constexpr const char* image = "/image/data";
inline constexpr const char* offset = "/image/offset";
inline constexpr const char* crc32c = "/image/crc32c";
inline constexpr const char* key = "/key";
inline constexpr const char* label = "/label";
inline constexpr const char* source_key = "/source/key";
inline constexpr const char* source_row = "/source/row";
inline constexpr const char* source_shard = "/source/shard";
inline constexpr const char* prompt = "/translation/prompt";
inline constexpr const char* prompts = "/translation/prompts";
inline constexpr const char* seed = "/translation/seed";
inline constexpr const char* variant = "/translation/variant";
inline constexpr const char* status = "/translation/status";

/// Throws DataError naming `where`: no domain or split, a negative or too large size, raw images without a size.
void check_header(const ShardHeader& header, const std::string& where);

/// Throws DataError naming `where` if a key is empty, or occurs twice. In a translation a key may occur once a variant, so there only the first holds.
void check_keys(const std::vector<std::string>& keys, bool translation, const std::string& where);

/// Throws DataError naming `where` if the source's place or status cannot be.
void check_source(const SourceRow& source, size_t row, const std::string& where);

}  // namespace syncdr::data::layout
