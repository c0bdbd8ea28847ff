#include "syncdr/io/json.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/foreign.h"

namespace syncdr::io {
namespace json = boost::json;
namespace {

constexpr size_t max_depth = 64;

/// Builds a value as boost::json::parse does, with two differences: a name that occurs twice in an object is an error (else the last one wins,
/// silently), and decimal numbers are rounded correctly (Boost before 1.83 may miss by one bit, and figures must read back as they were written).
class Builder {
 public:
  static constexpr size_t max_object_size = size_t(-1), max_array_size = size_t(-1), max_key_size = size_t(-1), max_string_size = size_t(-1);

  bool on_document_begin(json::error_code&) {
    stack_.reset();
    return true;
  }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) {
    names_.emplace_back();
    return true;
  }
  bool on_object_end(size_t count, json::error_code&) {
    names_.pop_back();
    stack_.push_object(count);
    return true;
  }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(size_t count, json::error_code&) {
    stack_.push_array(count);
    return true;
  }
  bool on_key_part(json::string_view text, size_t, json::error_code&) {
    text_ += text;
    stack_.push_chars(text);
    return true;
  }
  bool on_key(json::string_view text, size_t, json::error_code& error) {
    text_ += text;
    stack_.push_key(text);
    if (!names_.back().insert(text_).second) {
      duplicate_ = text_;
      error = json::error::syntax;
      return false;
    }
    text_.clear();
    return true;
  }
  bool on_string_part(json::string_view text, size_t, json::error_code&) {
    stack_.push_chars(text);
    return true;
  }
  bool on_string(json::string_view text, size_t, json::error_code&) {
    stack_.push_string(text);
    return true;
  }
  bool on_number_part(json::string_view text, json::error_code&) {
    text_ += text;
    return true;
  }
  bool on_int64(int64_t value, json::string_view, json::error_code&) {
    text_.clear();
    stack_.push_int64(value);
    return true;
  }
  bool on_uint64(uint64_t value, json::string_view, json::error_code&) {
    text_.clear();
    stack_.push_uint64(value);
    return true;
  }
  bool on_double(double value, json::string_view text, json::error_code& error) {
    text_ += text;
    const auto result = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    text_.clear();
    if (result.ec != std::errc() || !std::isfinite(value)) error = json::error::exponent_overflow;
    stack_.push_double(value);
    return !error;
  }
  bool on_bool(bool value, json::error_code&) {
    stack_.push_bool(value);
    return true;
  }
  bool on_null(json::error_code&) {
    stack_.push_null();
    return true;
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

  json::value release() { return stack_.release(); }
  const std::string& duplicate() const { return duplicate_; }

 private:
  json::value_stack stack_;
  std::vector<std::set<std::string>> names_;  // of the objects around the current place
  std::string text_, duplicate_;
};

void print_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  std::string digits = fmt::format("{}", value);                        // the shortest text that reads back to the same bits
  if (digits.find_first_of(".e") == std::string::npos) digits += ".0";  // or it would read back as an integer
  out += digits;
}

void print(std::string& out, const json::value& value, size_t indent) {
  const std::string inner(indent + 2, ' '), outer(indent, ' ');
  if (const json::object* object = value.if_object(); object && !object->empty()) {
    const char* separator = "{\n";
    for (const auto& member : *object) {
      out += separator + inner + json::serialize(member.key()) + ": ";
      print(out, member.value(), indent + 2);
      separator = ",\n";
    }
    out += "\n" + outer + "}";
  } else if (const json::array* array = value.if_array(); array && !array->empty()) {
    const char* separator = "[\n";
    for (const json::value& item : *array) {
      out += separator + inner;
      print(out, item, indent + 2);
      separator = ",\n";
    }
    out += "\n" + outer + "]";
  } else if (value.is_double()) {
    print_number(out, value.get_double());
  } else {
    out += json::serialize(value);
  }
}

const json::value& member(const json::object& object, const char* name, std::string_view where) {
  const json::value* found = object.if_contains(name);
  if (!found) throw core::DataError("{}: \"{}\" is missing", where, name);
  return *found;
}

/// What a member holds, if it is of the kind.
template <class Value> const Value& expect(const Value* value, const char* kind, std::string_view name, std::string_view where) {
  if (!value) throw core::DataError("{}: \"{}\" is not {}", where, name, kind);
  return *value;
}

}  // namespace

json::value parse_json(std::string_view text, std::string_view where) {
  json::parse_options options;
  options.max_depth = max_depth;
  json::basic_parser<Builder> parser(options);
  json::error_code error;
  const size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (!parser.handler().duplicate().empty()) {
    throw core::DataError("{}: byte {}: the name \"{}\" occurs twice in one object", where, used, parser.handler().duplicate());
  }
  if (error) {
    refuse_foreign(text, text.size(), where);
    if (error == json::error::incomplete)
      throw core::DataError("{}: byte {}: no valid JSON: it ends in its middle. It was cut short: get it again.", where, used);
    throw core::DataError("{}: byte {}: no valid JSON: {}", where, used, error.message());
  }
  if (used < text.size()) throw core::DataError("{}: byte {}: something follows the end of the JSON value", where, used);
  return parser.handler().release();
}

json::value read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const std::filesystem::path& path, const json::value& value) { write_file(path, pretty_json(value)); }

std::string pretty_json(const json::value& value) {
  std::string out;
  print(out, value, 0);
  return out + "\n";
}

std::string json_string(const json::object& object, const char* name, std::string_view where) {
  return std::string(expect(member(object, name, where).if_string(), "a string", name, where));
}

int64_t json_int(const json::object& object, const char* name, std::string_view where) {
  return expect(member(object, name, where).if_int64(), "an integer of 64 bits", name, where);
}

double json_double(const json::object& object, const char* name, std::string_view where) {
  const json::value& value = member(object, name, where);
  return expect(value.is_number() ? &value : nullptr, "a number", name, where).to_number<double>();
}

const json::array& json_array(const json::object& object, const char* name, std::string_view where) {
  return expect(member(object, name, where).if_array(), "an array", name, where);
}

const json::object& json_object(const json::object& object, const char* name, std::string_view where) {
  return expect(member(object, name, where).if_object(), "an object", name, where);
}

std::map<std::string, std::string> json_texts(const json::object& object, std::string_view where) {
  std::map<std::string, std::string> texts;
  for (const auto& item : object) {
    const std::string name(item.key());
    texts.emplace(name, expect(item.value().if_string(), "a string", name, where));
  }
  return texts;
}

const json::object& as_object(const json::value& value, std::string_view where) {
  const json::object* object = value.if_object();
  if (!object) throw core::DataError("{}: is not a JSON object", where);
  return *object;
}

}  // namespace syncdr::io
