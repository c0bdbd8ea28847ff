#pragma once
#include <string>
#include <unordered_map>

/// Files that give something to each image of a dataset: lines of KEY, tab, VALUE. Private to translate.
namespace syncdr::translate {

using KeyLines = std::unordered_map<std::string, std::string>;

/// The values by key. value: what they are, for errors ("TEXT"). Throws DataError naming file and line.
KeyLines read_key_lines(const std::string& file, const char* value);
/// Throws DataError naming file and key if there is none.
const std::string& line_for(const KeyLines& lines, const std::string& key, const std::string& file);

}  // namespace syncdr::translate
