#include "syncdr/core/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "syncdr/core/error.h"

namespace syncdr::core {
namespace {

/// Keeps the dotted path of the struct being visited.
class PathFields : public Fields {
 protected:
  void enter(const char* name, const char*) override { path_ += std::string(name) + "."; }
  void leave() override {
    path_.pop_back();
    const auto dot = path_.rfind('.');
    path_.resize(dot == std::string::npos ? 0 : dot + 1);
  }
  std::string key(const char* name) const { return path_ + name; }

 private:
  std::string path_;
};

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

class Reader : public PathFields {
 public:
  Reader(const toml::table& table, const std::string& where) : table_(table), where_(where) {}

  void operator()(bool& value, const char* name, const char*) override {
    if (const auto* node = find(name)) value = as<bool>(*node, name, "true or false");
  }
  void operator()(int64_t& value, const char* name, const char*, Range range) override {
    if (const auto* node = find(name)) value = in_range(integer(*node, name), name, range);
  }
  void operator()(double& value, const char* name, const char*, Range range) override {
    if (const auto* node = find(name)) value = in_range(real(*node, name), name, range);
  }
  void operator()(std::string& value, const char* name, const char*, Choices choices) override {
    if (const auto* node = find(name)) value = chosen(as<std::string>(*node, name, "a string"), name, choices);
  }
  void operator()(std::vector<int64_t>& value, const char* name, const char*, Range range) override {
    each(value, name, [&](const toml::node& node) { return in_range(integer(node, name), name, range); });
  }
  void operator()(std::vector<double>& value, const char* name, const char*, Range range) override {
    each(value, name, [&](const toml::node& node) { return in_range(real(node, name), name, range); });
  }
  void operator()(std::vector<std::string>& value, const char* name, const char*, Choices choices) override {
    each(value, name, [&](const toml::node& node) { return chosen(as<std::string>(node, name, "a string"), name, choices); });
  }

  /// Call after the visit: a key that no field has taken is an error, not a silent default.
  void reject_unknown() const { reject_unknown(table_, ""); }

 private:
  const toml::node* find(const char* name) {
    known_.insert(key(name));
    return table_.at_path(key(name)).node();
  }

  [[noreturn]] void wrong(const char* name, const toml::node& node, const std::string& expected) const {
    std::ostringstream text;
    node.visit([&](const auto& typed) { text << typed; });
    throw UsageError("{}: {} = {} is wrong: it must be {}.", where_, key(name), text.str(), expected);
  }

  template <class T> T as(const toml::node& node, const char* name, const char* expected) const {
    if (const auto value = node.value_exact<T>()) return *value;
    wrong(name, node, expected);
  }
  int64_t integer(const toml::node& node, const char* name) const { return as<int64_t>(node, name, "a whole number"); }
  double real(const toml::node& node, const char* name) const {
    const auto value = node.is_number() ? node.value<double>() : std::nullopt;
    if (!value || std::isnan(*value)) wrong(name, node, "a number");
    return *value;
  }

  template <class T> T in_range(T value, const char* name, const Range& range) const {
    if (!range.holds(static_cast<double>(value))) throw UsageError("{}: {} = {} is out of range: it must be {}.", where_, key(name), value, range.text());
    return value;
  }

  std::string chosen(std::string value, const char* name, const Choices& choices) const {
    if (!choices.empty() && std::find(choices.begin(), choices.end(), value) == choices.end())
      throw UsageError("{}: {} = \"{}\" is unknown: it must be one of {}.", where_, key(name), value, fmt::join(choices, ", "));
    return value;
  }

  template <class T, class Convert> void each(std::vector<T>& value, const char* name, Convert convert) {
    const auto* node = find(name);
    if (!node) return;
    const auto* array = node->as_array();
    if (!array) wrong(name, *node, "a list, as in [a, b]");
    value.clear();
    for (const auto& element : *array) value.push_back(convert(element));
  }

  void reject_unknown(const toml::table& table, const std::string& prefix) const {
    for (const auto& [name, node] : table) {
      const std::string full = prefix + std::string(name.str());
      const bool is_group = std::any_of(known_.begin(), known_.end(), [&](const std::string& k) { return k.starts_with(full + "."); });
      if (is_group && node.is_table()) {
        reject_unknown(*node.as_table(), full + ".");
      } else if (!known_.contains(full)) {
        if (known_.empty()) throw UsageError("{}: unknown key \"{}\".", where_, full);
        const auto nearest = std::min_element(known_.begin(), known_.end(), [&](const auto& a, const auto& b) { return edit_distance(a, full) < edit_distance(b, full); });
        throw UsageError("{}: unknown key \"{}\". Did you mean \"{}\"?", where_, full, *nearest);
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

/// Calls a function with (key, value as TOML, range, help) for every field.
class Printer : public PathFields {
 public:
  using Print = std::function<void(const std::string& key, const std::string& value, const std::string& range, const char* help)>;
  explicit Printer(Print print) : print_(std::move(print)) {}
  void operator()(bool& value, const char* name, const char* help) override { print_(key(name), text_of(value), "", help); }
  void operator()(int64_t& value, const char* name, const char* help, Range range) override { print_(key(name), text_of(value), range.text(), help); }
  void operator()(double& value, const char* name, const char* help, Range range) override { print_(key(name), text_of(value), range.text(), help); }
  void operator()(std::string& value, const char* name, const char* help, Choices choices) override { print_(key(name), text_of(value), words(choices), help); }
  void operator()(std::vector<int64_t>& value, const char* name, const char* help, Range range) override { print_(key(name), text_of(value), range.text(), help); }
  void operator()(std::vector<double>& value, const char* name, const char* help, Range range) override { print_(key(name), text_of(value), range.text(), help); }
  void operator()(std::vector<std::string>& value, const char* name, const char* help, Choices choices) override { print_(key(name), text_of(value), words(choices), help); }

 private:
  static std::string words(const Choices& choices) { return fmt::format("{}", fmt::join(choices, " | ")); }
  Print print_;
};

void read_table(const Visit& visit, const toml::table& table, const std::string& where) {
  Reader reader(table, where);
  visit(reader);
  reader.reject_unknown();
}

}  // namespace

std::string Range::text() const {
  if (std::isinf(low) && std::isinf(high)) return "";
  if (std::isinf(high)) return fmt::format("{} {}", low_open ? "above" : "at least", low);
  if (std::isinf(low)) return fmt::format("at most {}", high);
  return fmt::format("{} to {}", low, high);
}

void read_config_text(const Visit& visit, const std::string& text, const std::string& where) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    throw UsageError("{}: line {}: {}.", where, error.source().begin.line, error.description());
  }
  read_table(visit, table, where);
}

void read_config(const Visit& visit, const std::filesystem::path& file, const std::vector<std::string>& settings) {
  if (!file.empty()) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored)) throw UsageError("{}: there is no such configuration file.", file.string());
    toml::table table;
    try {
      table = toml::parse_file(file.string());
    } catch (const toml::parse_error& error) {
      throw UsageError("{}: line {}: {}.", file.string(), error.source().begin.line, error.description());
    }
    read_table(visit, table, file.string());
  }
  for (const auto& setting : settings) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) throw UsageError("--set {}: write it as key=value.", setting);
    const std::string name = setting.substr(0, equals), value = setting.substr(equals + 1);
    toml::table table;
    try {
      table = toml::parse(name + " = " + value);
    } catch (const toml::parse_error&) {
      // A bare word is meant as a string: --set train.optimizer=adamw.
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
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) throw DataError("{}: there is no such file.", file.string());
  toml::table document;
  try {
    document = toml::parse_file(file.string());
  } catch (const toml::parse_error& error) {
    throw DataError("{}: line {}: {}.", file.string(), error.source().begin.line, error.description());
  }
  std::map<std::string, std::map<std::string, std::string>> tables;
  for (const auto& [name, node] : document) {
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
  std::vector<std::pair<std::string, std::string>> fields;
  Printer printer([&](const std::string& key, const std::string& value, const std::string&, const char*) { fields.emplace_back(key, value); });
  visit(printer);
  return fields;
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
  std::string text;
  Printer printer([&](const std::string& key, const std::string& value, const std::string& range, const char* help) {
    text += fmt::format("  {:<34} {}{} [{}]\n", key, help, range.empty() ? "" : " (" + range + ")", value);
  });
  visit(printer);
  return text;
}

}  // namespace syncdr::core
