#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

/// Configuration: a struct with defaults and one `visit` that lists its fields. That list alone drives reading, ranges, help, printing and saving.
///
///     struct TrainConfig {
///       int64_t epochs = 15;
///       AugmentConfig augment;
///       void visit(core::Fields& field) {
///         field(epochs, "epochs", "passes over the longer domain", core::at_least(1));
///         field.group(augment, "augment", "random changes of training images");
///       }
///     };
namespace syncdr::core {

/// The values a number may take. Both ends belong to it unless low_open says otherwise.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool holds(double value) const { return (low_open ? value > low : value >= low) && value <= high; }
  std::string text() const;  ///< "at least 1", "above 0", "0 to 1", "" if all
};
inline Range at_least(double low) { return {.low = low}; }
inline Range above(double low) { return {.low = low, .low_open = true}; }
inline Range between(double low, double high) { return {.low = low, .high = high}; }

/// The words a string may be; none: any string.
using Choices = std::vector<std::string>;

/// What goes over a configuration struct. A struct calls one overload for each of its fields.
class Fields {
 public:
  virtual ~Fields() = default;
  virtual void operator()(bool& value, const char* name, const char* help) = 0;
  virtual void operator()(int64_t& value, const char* name, const char* help, Range range = {}) = 0;
  virtual void operator()(double& value, const char* name, const char* help, Range range = {}) = 0;
  virtual void operator()(std::string& value, const char* name, const char* help, Choices choices = {}) = 0;
  virtual void operator()(std::vector<int64_t>& value, const char* name, const char* help, Range range = {}) = 0;
  virtual void operator()(std::vector<double>& value, const char* name, const char* help, Range range = {}) = 0;
  virtual void operator()(std::vector<std::string>& value, const char* name, const char* help, Choices choices = {}) = 0;
  /// A nested struct: a table [name] in TOML, a prefix "name." on the command line.
  template <class Struct> void group(Struct& value, const char* name, const char* help) {
    enter(name, help);
    value.visit(*this);
    leave();
  }

 protected:
  virtual void enter(const char* name, const char* help) = 0;
  virtual void leave() = 0;
};

using Visit = std::function<void(Fields&)>;

/// Overwrites fields with what file (TOML; empty path: none) and then each "key=value" of settings say.
/// Throws UsageError on an unreadable file, an unknown key (naming the nearest known one), a wrong type or a value out of range.
void read_config(const Visit& visit, const std::filesystem::path& file, const std::vector<std::string>& settings);
/// The same from TOML text; `where` names it in errors.
void read_config_text(const Visit& visit, const std::string& text, const std::string& where);
/// The values as TOML that read_config takes back unchanged.
std::string write_config(const Visit& visit);
/// Each key with its value as TOML, in the order of the fields.
std::vector<std::pair<std::string, std::string>> list_config(const Visit& visit);
/// One line a key: name, default, range, help.
std::string describe_config(const Visit& visit);

/// A TOML file of tables that hold strings and nothing else: table -> key -> text. Throws DataError naming file and key.
std::map<std::string, std::map<std::string, std::string>> read_text_tables(const std::filesystem::path& file);

/// The visit of one struct, for the functions above: read_config(visit_of(config), ...). The struct must outlive it.
template <class Struct> Visit visit_of(Struct& config) {
  return [&config](Fields& field) { config.visit(field); };
}

}  // namespace syncdr::core
