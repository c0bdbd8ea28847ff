#include "syncdr/core/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "syncdr/core/error.h"

namespace syncdr::core {
namespace {

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

/// What a field's value is, not where it lies.
template <class T> T& behind(T* value) { return *value; }
const StructList& behind(const StructList& list) { return list; }

void read_table(const Visit& visit, const toml::table& table, const std::string& where);
std::string text_of(const StructList& list);

/// Overwrites fields with what a table says of them.
class Reader {
 public:
  Reader(const toml::table& table, const std::string& where) : table_(table), where_(where) {}

  void take(const Field& field) {
    known_.insert(field.key);
    if (const auto* node = table_.at_path(field.key).node()) std::visit([&](const auto& value) { read(behind(value), *node, field); }, field.value);
  }

  /// Call after the visit: a key that no field has taken is an error, not a silent default.
  void reject_unknown() const { reject_unknown(table_, ""); }

 private:
  void read(bool& value, const toml::node& node, const Field& field) const { value = as<bool>(node, field, "true or false"); }
  void read(int64_t& value, const toml::node& node, const Field& field) const { value = in_range(as<int64_t>(node, field, "a whole number"), field); }
  void read(double& value, const toml::node& node, const Field& field) const {
    const auto number = node.is_number() ? node.value<double>() : std::nullopt;
    if (!number || std::isnan(*number)) wrong(node, field, "a number");
    value = in_range(*number, field);
  }
  void read(std::string& value, const toml::node& node, const Field& field) const {
    value = as<std::string>(node, field, "a string");
    const auto& choices = field.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end())
      throw UsageError("{}: {} = \"{}\" is unknown: it must be one of {}.", where_, field.key, value, fmt::join(choices, ", "));
  }
  template <class T> void read(std::vector<T>& values, const toml::node& node, const Field& field) const {
    const auto* array = node.as_array();
    if (!array) wrong(node, field, "a list, as in [1, 2] or [\"a\", \"b\"], which a shell wants in single quotes");
    values.clear();
    for (const auto& element : *array) read(values.emplace_back(), element, field);
  }
  void read(const StructList& list, const toml::node& node, const Field& field) const {
    const auto* array = node.as_array();
    if (!array || !std::all_of(array->begin(), array->end(), [](const toml::node& element) { return element.is_table(); })) {
      list.renew(1);
      wrong(node, field, "a list, as in " + text_of(list));
    }
    list.renew(array->size());
    const std::vector<Visit> visits = list.visits();
    for (size_t i = 0; i < visits.size(); ++i) read_table(visits[i], *(*array)[i].as_table(), fmt::format("{}: {}[{}]", where_, field.key, i));
  }

  [[noreturn]] void wrong(const toml::node& node, const Field& field, const std::string& expected) const {
    std::ostringstream text;
    node.visit([&](const auto& typed) { text << typed; });
    throw UsageError("{}: {} = {} is wrong: it must be {}.", where_, field.key, text.str(), expected);
  }

  template <class T> T as(const toml::node& node, const Field& field, const char* expected) const {
    if (const auto value = node.value_exact<T>()) return *value;
    wrong(node, field, expected);
  }

  template <class T> T in_range(T value, const Field& field) const {
    if (!field.range.holds(static_cast<double>(value)))
      throw UsageError("{}: {} = {} is out of range: it must be {}.", where_, field.key, value, field.range.text());
    return value;
  }

  void reject_unknown(const toml::table& table, const std::string& prefix) const {
    for (const auto& [name, node] : table) {
      const std::string full = prefix + std::string(name.str());
      const bool is_group = std::any_of(known_.begin(), known_.end(), [&](const std::string& k) { return k.starts_with(full + "."); });
      if (is_group && node.is_table()) {
        reject_unknown(*node.as_table(), full + ".");
      } else if (!known_.contains(full)) {
        throw UsageError("{}: unknown key \"{}\".{}", where_, full, did_you_mean(full, {known_.begin(), known_.end()}));
      }
    }
  }

  const toml::table& table_;
  std::string where_;
  std::set<std::string> known_;
};

// A double is written so that it reads back to the same bits and as a double: 1 becomes 1.0.
std::string text_of(double value) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  auto text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}
std::string text_of(int64_t value) { return fmt::format("{}", value); }
std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(const std::string& value) {
  std::ostringstream out;
  out << toml::value<std::string>(value);
  return out.str();
}
template <class T> std::string text_of(const std::vector<T>& values) {
  std::vector<std::string> parts;
  for (const auto& value : values) parts.push_back(text_of(value));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}
std::string text_of(const StructList& list) {
  std::vector<std::string> structs;
  for (const Visit& visit : list.visits()) {
    std::vector<std::string> parts;
    for (const auto& [key, value] : list_config(visit)) parts.push_back(key + " = " + value);
    structs.push_back(fmt::format("{{{}}}", fmt::join(parts, ", ")));
  }
  return fmt::format("[{}]", fmt::join(structs, ", "));
}

std::string text_of(const Field& field) {
  return std::visit([](const auto& value) { return text_of(behind(value)); }, field.value);
}

void read_table(const Visit& visit, const toml::table& table, const std::string& where) {
  Reader reader(table, where);
  Fields fields([&](const Field& field) { reader.take(field); });
  visit(fields);
  reader.reject_unknown();
}

/// The table that parse() returns. Its errors become Error, naming `where` and the line.
template <class Error, class Parse> toml::table parsed(const std::string& where, Parse&& parse) {
  try {
    return parse();
  } catch (const toml::parse_error& error) {
    throw Error("{}: line {}: {}.", where, error.source().begin.line, error.description());
  }
}

template <class Error> toml::table parse_file(const std::filesystem::path& file, const char* kind) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) throw Error("{}: there is no such {}.", file.string(), kind);
  return parsed<Error>(file.string(), [&] { return toml::parse_file(file.string()); });
}

}  // namespace

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known) {
  const auto found = std::min_element(known.begin(), known.end(), [&](auto& a, auto& b) { return edit_distance(a, word) < edit_distance(b, word); });
  if (found == known.end() || *found == word || edit_distance(*found, word) > word.size() / 3) return "";
  return fmt::format(" Did you mean \"{}\"?", *found);
}

std::string Range::text() const {
  if (std::isinf(low) && std::isinf(high)) return "";
  if (std::isinf(high)) return fmt::format("{} {}", low_open ? "above" : "at least", low);
  return fmt::format("{} to {}", low, high);
}

void read_config_text(const Visit& visit, const std::string& text, const std::string& where) {
  read_table(visit, parsed<UsageError>(where, [&] { return toml::parse(text); }), where);
}

void read_config(const Visit& visit, const std::filesystem::path& file, const std::vector<std::string>& settings) {
  if (!file.empty()) read_table(visit, parse_file<UsageError>(file, "configuration file"), file.string());
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) throw UsageError("--set {}: write it as key=value.", setting);
    const std::string name = setting.substr(0, equals), value = setting.substr(equals + 1);
    toml::table table;
    try {
      table = toml::parse(name + " = " + value);
    } catch (const toml::parse_error&) {
      // A bare word is meant as a string: --set train.optimizer.name=adamw.
      try {
        table = toml::parse(name + " = " + text_of(value));
      } catch (const toml::parse_error& error) {
        throw UsageError("--set {}: {}.", setting, error.description());
      }
    }
    read_table(visit, table, "--set " + setting);
  }
}

std::map<std::string, std::map<std::string, std::string>> read_text_tables(const std::filesystem::path& file) {
  std::map<std::string, std::map<std::string, std::string>> tables;
  for (const auto& [name, node] : parse_file<DataError>(file, "file")) {
    if (!node.is_table()) throw DataError("{}: \"{}\" is no table. Write [{}] above the keys that belong to it.", file.string(), name.str(), name.str());
    auto& table = tables[std::string(name.str())];
    for (const auto& [key, value] : *node.as_table()) {
      if (!value.is_string()) throw DataError("{}: {}.{} is no string.", file.string(), name.str(), key.str());
      table[std::string(key.str())] = **value.as_string();
    }
  }
  return tables;
}

std::vector<std::pair<std::string, std::string>> list_config(const Visit& visit) {
  std::vector<std::pair<std::string, std::string>> list;
  Fields fields([&](const Field& field) { list.emplace_back(field.key, text_of(field)); });
  visit(fields);
  return list;
}

std::string write_config(const Visit& visit) {
  // Plain keys of a table must come before its sub-tables, so lines are gathered by table first.
  std::vector<std::pair<std::string, std::string>> tables{{"", ""}};
  for (const auto& [key, value] : list_config(visit)) {
    const auto dot = key.rfind('.');
    const std::string table = dot == std::string::npos ? "" : key.substr(0, dot);
    auto found = std::find_if(tables.begin(), tables.end(), [&](const auto& entry) { return entry.first == table; });
    if (found == tables.end()) found = tables.insert(tables.end(), {table, ""});
    found->second += fmt::format("{} = {}\n", dot == std::string::npos ? key : key.substr(dot + 1), value);
  }
  std::string text;
  for (const auto& [name, lines] : tables) {
    if (lines.empty()) continue;
    if (!name.empty()) text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", name);
    text += lines;
  }
  return text;
}

std::string describe_config(const Visit& visit) {
  std::string text, table;
  std::map<std::string, std::string> helps;  // of tables
  const auto take = [&](const Field& field) {
    const auto dot = field.key.rfind('.');
    const std::string of = dot == std::string::npos ? "" : field.key.substr(0, dot);
    // Also where a table goes on behind another one that lies in it.
    if (of != std::exchange(table, of)) text += of.empty() ? "\n" : fmt::format("\n[{}] {}\n", of, helps[of]);
    const std::string range = field.choices.empty() ? field.range.text() : fmt::format("{}", fmt::join(field.choices, " | "));
    text += fmt::format("  {:<34} {}{} [{}]\n", field.key, field.help, range.empty() ? "" : " (" + range + ")", text_of(field));
  };
  Fields fields(take, [&](const std::string& group, const char* help) { helps[group] = help; });
  visit(fields);
  return text;
}

}  // namespace syncdr::core
