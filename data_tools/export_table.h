#pragma once

/// The table that `export` writes beside its folders. `pack` makes the same dataset of it: keys and labels are those that it names, not those of files as they
/// lie.
namespace syncdr::data_tools {

inline constexpr const char* export_table = "pictures.csv";
inline constexpr const char* export_columns = "path,domain,split,category,number,key,run,source_domain,variant,seed,status,made_under";

}  // namespace syncdr::data_tools
