#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

/// JSON files, checked. `where` is the file (and place in it) that errors name; a view, since GCC takes what returns a reference and was given a temporary
/// string for dangling.
namespace syncdr::io {

/// Throws DataError on a syntax error, a name that occurs twice in an object or nesting deeper than 64, with the byte offset.
boost::json::value parse_json(std::string_view text, std::string_view where);
/// Throws DataError if the file is missing, larger than 1 GiB or no JSON.
boost::json::value read_json(const std::filesystem::path& path);
/// Indented, keys in their order, numbers that read back to the same bits (NaN and infinities, which JSON has not, become null); atomically.
void write_json(const std::filesystem::path& path, const boost::json::value& value);
std::string pretty_json(const boost::json::value& value);

/// A member of the given kind. Each throws DataError "WHERE: "name" is missing" or "... is not a string".
std::string json_string(const boost::json::object& object, const char* name, std::string_view where);
int64_t json_int(const boost::json::object& object, const char* name, std::string_view where);
double json_double(const boost::json::object& object, const char* name, std::string_view where);
const boost::json::array& json_array(const boost::json::object& object, const char* name, std::string_view where);
const boost::json::object& json_object(const boost::json::object& object, const char* name, std::string_view where);
/// All members, each a string.
std::map<std::string, std::string> json_texts(const boost::json::object& object, std::string_view where);
/// The value itself as an object; for a document's root.
const boost::json::object& as_object(const boost::json::value& value, std::string_view where);

}  // namespace syncdr::io
