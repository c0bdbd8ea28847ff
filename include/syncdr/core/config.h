#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <variant>
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

class Fields;
using Visit = std::function<void(Fields&)>;

/// The visit of one struct, for the functions below: read_config(visit_of(config), ...). The struct must outlive it.
template <class Struct> Visit visit_of(Struct& config) {
  return [&config](Fields& field) { config.visit(field); };
}

/// A list of structs, whichever they are.
struct StructList {
  std::function<void(size_t count)> renew;     ///< makes it as many, with their defaults
  std::function<std::vector<Visit>()> visits;  ///< of each
};

/// One field of a configuration struct.
struct Field {
  std::variant<bool*, int64_t*, double*, std::string*, std::vector<int64_t>*, std::vector<double>*, std::vector<std::string>*, StructList> value;
  std::string key;  ///< with the groups that it lies in: "train.augment.flip"
  const char* help;
  Range range;      ///< of a number, or of each in a list
  Choices choices;  ///< of a string, or of each in a list
};

/// What goes over a configuration struct, which calls it for each of its fields.
class Fields {
 public:
  /// enter: called for each group, before its fields, with its key ("train.augment") and what it is; empty: nobody asks.
  explicit Fields(std::function<void(const Field&)> take, std::function<void(const std::string& group, const char* help)> enter = {})
      : take_(std::move(take)), enter_(std::move(enter)) {}

  template <class T> void operator()(T& value, const char* name, const char* help, Range range = {}) { take_({&value, path_ + name, help, range, {}}); }
  template <class T> void operator()(T& value, const char* name, const char* help, Choices choices) {
    take_({&value, path_ + name, help, {}, std::move(choices)});
  }
  /// A nested struct: a table [name] in TOML, a prefix "name." on the command line.
  template <class Struct> void group(Struct& value, const char* name, const char* help) {
    const std::string outer = path_;
    if (enter_) enter_(outer + name, help);
    path_ += std::string(name) + ".";
    value.visit(*this);
    path_ = outer;
  }
  /// A list of structs of numbers, words and lists: [{name = value, other = value}, ...] in TOML and on the command line. What is left out has its default.
  template <class Struct> void list(std::vector<Struct>& values, const char* name, const char* help) {
    const auto visits = [&values] {
      std::vector<Visit> all;
      for (Struct& value : values) all.push_back(visit_of(value));
      return all;
    };
    take_({StructList{[&values](size_t count) { values.assign(count, Struct()); }, visits}, path_ + name, help, {}, {}});
  }

 private:
  std::function<void(const Field&)> take_;
  std::function<void(const std::string&, const char*)> enter_;
  std::string path_;
};

/// Overwrites fields with what file (TOML; empty path: none) and then each "key=value" of settings say.
/// Throws UsageError on an unreadable file, an unknown key (naming the nearest known one), a wrong type or a value out of range.
void read_config(const Visit& visit, const std::filesystem::path& file, const std::vector<std::string>& settings);
/// The same from TOML text; `where` names it in errors.
void read_config_text(const Visit& visit, const std::string& text, const std::string& where);
/// The values as TOML that read_config takes back unchanged.
std::string write_config(const Visit& visit);
/// Each key with its value as TOML, in the order of the fields.
std::vector<std::pair<std::string, std::string>> list_config(const Visit& visit);
/// " Did you mean ...?" with the known word to which the fewest letters of this one change; empty: it is known, or none is near (a third of its letters).
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);
/// One line a key: name, help, range, default; each table's below a line with its name and what it is.
std::string describe_config(const Visit& visit);

/// A TOML file of tables that hold strings and nothing else: table -> key -> text. Throws DataError naming file and key.
std::map<std::string, std::map<std::string, std::string>> read_text_tables(const std::filesystem::path& file);

}  // namespace syncdr::core
