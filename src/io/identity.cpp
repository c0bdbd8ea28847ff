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
    if (before != after)
      throw core::UsageError("{}: was made with {} = {}, now it is {}. Set it back, {}, or remove {}", where.string(), name, before, after, otherwise,
                             where.parent_path().string());
  }
}

boost::json::object to_json(const Identity& identity) { return boost::json::value_from(identity).as_object(); }

Identity identity_in(const boost::json::object& parent, const std::string& where) { return json_texts(json_object(parent, "settings", where), where); }

}  // namespace syncdr::io
