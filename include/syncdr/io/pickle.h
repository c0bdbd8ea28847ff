#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "syncdr/io/file.h"

/// Python's pickle format, protocols 2 to 5 (PEP 307, 3154, 574), read as data. A pickle is a program that calls what it names; here nothing is called:
/// each call becomes an `object` that says what would have been called, with what.
namespace syncdr::io {

struct PickleValue {
  enum class Kind : uint8_t { none, boolean, integer, real, text, bytes, list, tuple, set, dictionary, global, object, persistent };
  Kind kind = Kind::none;
  int64_t integer = 0;  ///< boolean, integer. The value of a real, and of an integer beyond 64 bits (a real then), is not kept: nobody needs it.
  std::string text;     ///< text (UTF-8 or Latin-1, unchecked), bytes; global: "module.name"
  /// list, tuple, set: its items. dictionary: key, value, key, value. persistent: its id. object: its global, the arguments (a tuple), then what was
  /// appended, or set as key, value. Values may be shared, and lists and dictionaries may contain themselves: bound every walk.
  std::vector<const PickleValue*> items;
  const PickleValue* state = nullptr;  ///< object: what BUILD would have given it

  bool is(Kind other) const { return kind == other; }
  /// An object that would be made by calling this global, "module.name".
  bool made_by(std::string_view global) const { return is(Kind::object) && items[0]->text == global; }
};

/// How errors call a value: "a list", "a call of argparse.Namespace".
std::string describe(const PickleValue& value);

struct Pickle {
  std::deque<PickleValue> values;  ///< all that occur, in the order of their making, whether or not the root holds them
  const PickleValue* root = nullptr;
  uint64_t end = 0;  ///< the byte of the file that follows the pickle
};

/// Reads the pickle at byte `begin` of a file, which must end before byte `end`. Memory is bounded by its length: at most 256 MiB, 8 million values.
/// Throws DataError naming file and byte: it ends in its middle, an opcode that Python does not write in these protocols, a stack or memo that does not
/// hold what is asked for, a limit.
Pickle read_pickle(const InputFile& file, uint64_t begin, uint64_t end);

}  // namespace syncdr::io
