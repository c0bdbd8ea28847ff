#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <map>
#include <string>

#include "syncdr/core/config.h"

namespace syncdr::io {

/// All that a folder's content is a function of, names and values as text: what made it must not go on in it with other settings. In files it is the JSON
/// object "settings".
using Identity = std::map<std::string, std::string>;

/// The fields of a configuration as "PREFIX.group.name" (without a prefix "group.name") with their values as TOML.
Identity identity_of(const core::Visit& visit, const std::string& prefix);

/// Throws UsageError naming the first name in which they differ, with both values, and the folder that may be removed.
/// where: the file that says `then`; otherwise: what else may be done.
void expect_same(const Identity& then, const Identity& now, const std::filesystem::path& where, const std::string& otherwise = "choose another folder");

/// What a file or folder is called, wherever it lies: "b" of "a/b" and of "a/b/".
std::string last_name(const std::filesystem::path& path);

boost::json::object to_json(const Identity& identity);
/// parent's member "settings". Throws DataError naming `where`.
Identity identity_in(const boost::json::object& parent, const std::string& where);

}  // namespace syncdr::io
