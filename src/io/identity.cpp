#include "syncdr/io/identity.h"

#include <boost/json.hpp>

#include "syncdr/core/error.h"
#include "syncdr/io/json.h"

namespace syncdr::io {
namespace {

std::string value_of(const Identity& identity, const std::string& name) {
  const auto found = identity.find(name);
  if (found == identity.end()) return "not set";
  return found->second.empty() ? "\"\"" : found->second;
}

bool is_hash(const std::string& text) { return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos; }

}  // namespace

Identity identity_of(const core::Visit& visit, const std::string& prefix) {
  Identity identity;
  for (const auto& [name, value] : core::list_config(visit)) identity[prefix.empty() ? name : prefix + "." + name] = value;
  return identity;
}

void expect_same(const Identity& then, const Identity& now, const std::filesystem::path& where, const std::string& otherwise) {
  Identity names = then;
  names.insert(now.begin(), now.end());
  for (const auto& [name, ignored] : names) {
    const std::string before = value_of(then, name), after = value_of(now, name);
    if (before == after) continue;
    const bool hashed = is_hash(before) && is_hash(after);  // of something too long to show
    const std::string difference = hashed ? fmt::format("other {} (hash {}", name, before) : fmt::format("{} = {}", name, before);
    throw core::UsageError("{}: was made with {}, now it is {}{}. Set it back, {}, or remove {}", where.string(), difference, after, hashed ? ")" : "",
                           otherwise, where.parent_path().string());
  }
}

std::string last_name(const std::filesystem::path& path) {
  const auto full = std::filesystem::absolute(path).lexically_normal();
  return (full.has_filename() ? full : full.parent_path()).filename().string();
}

boost::json::object to_json(const Identity& identity) { return boost::json::value_from(identity).as_object(); }

Identity identity_in(const boost::json::object& parent, const std::string& where) { return json_texts(json_object(parent, "settings", where), where); }

}  // namespace syncdr::io
