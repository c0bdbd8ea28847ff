#include "syncdr/io/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "syncdr/core/error.h"

namespace syncdr::io {
namespace {

using Kind = PickleValue::Kind;

constexpr uint64_t max_bytes = uint64_t{256} << 20;
constexpr size_t max_values = size_t{1} << 23, max_name = 1000;

/// The bytes of a pickle, each read once: nothing can be longer than what is left of the file.
class Bytes {
 public:
  Bytes(const InputFile& file, uint64_t begin, uint64_t end) : file_(file), begin_(begin), end_(end), next_(begin), read_(begin) {}

  uint64_t offset() const { return next_; }

  uint8_t byte() {
    if (next_ == read_) refill();
    return part_[part_.size() - (read_ - next_++)];
  }

  uint64_t little_endian(int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint64_t{byte()} << (8 * i);
    return value;
  }

  std::string text(uint64_t length) {
    if (length > end_ - next_) fail("a text of {} bytes passes the end of the pickle. The file was cut short or is damaged: get it again.", length);
    check_length(length);
    std::string result;
    while (result.size() < length) {
      if (next_ == read_) refill();
      const uint64_t count = std::min<uint64_t>(length - result.size(), read_ - next_);
      result.append(reinterpret_cast<const char*>(part_.data()) + part_.size() - (read_ - next_), count);
      next_ += count;
    }
    return result;
  }

  std::string line() {
    std::string result;
    for (uint8_t next = byte(); next != '\n'; next = byte()) {
      result += static_cast<char>(next);
      if (result.size() > max_name) fail("a name has more than {} characters", max_name);
    }
    return result;
  }

  template <class... Args> [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw core::DataError("{}: byte {}: the pickle cannot be read: {}", file_.path().string(), next_, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void check_length(uint64_t more) const {
    if (next_ - begin_ + more > max_bytes) fail("it is longer than {} MiB, although weights lie outside of it", max_bytes >> 20);
  }

  void refill() {
    if (next_ == end_) fail("it ends in its middle. The file was cut short: get it again.");
    check_length(1);
    part_.resize(std::min<uint64_t>(size_t{1} << 16, end_ - next_));
    file_.read_at(next_, part_);
    read_ += part_.size();
  }

  const InputFile& file_;
  uint64_t begin_, end_, next_, read_;  // read_: the end of part_ in the file
  std::vector<uint8_t> part_;
};

/// The stack machine that a pickle runs on.
class Machine {
 public:
  explicit Machine(Bytes& in) : in_(in) {}

  Pickle run() {
    while (!result_.root) step(in_.byte());
    result_.end = in_.offset();
    return std::move(result_);
  }

 private:
  using Value = PickleValue;

  Value& make(Kind kind) {
    if (result_.values.size() == max_values) in_.fail("it has more than {} values", max_values);
    Value& value = result_.values.emplace_back();
    value.kind = kind;
    return value;
  }
  Value& push(Kind kind) {
    stack_.push_back(&make(kind));
    return *stack_.back();
  }
  void push_integer(int64_t integer, Kind kind = Kind::integer) { push(kind).integer = integer; }
  void push_text(Kind kind, int length_bytes) { push(kind).text = in_.text(in_.little_endian(length_bytes)); }

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Value& top() {
    if (stack_.size() <= floor()) in_.fail("its stack is empty");
    return *stack_.back();
  }
  Value& pop() {
    Value& value = top();
    stack_.pop_back();
    return value;
  }
  /// All that lies above the last mark.
  std::vector<const Value*> pop_to_mark() {
    if (marks_.empty()) in_.fail("a mark is missing on its stack");
    std::vector<const Value*> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }

  void push_items(Kind kind, std::vector<const Value*> items) { push(kind).items = std::move(items); }
  void push_tuple(size_t count) {
    std::vector<const Value*> items(count);
    for (size_t i = count; i > 0; --i) items[i - 1] = &pop();
    push_items(Kind::tuple, std::move(items));
  }

  /// Items for the container on top of the stack.
  void append(const std::vector<const Value*>& items, Kind kind) {
    Value& container = top();
    if (!container.is(kind) && !container.is(Kind::object)) in_.fail("it adds items to {}", describe(container));
    if (kind == Kind::dictionary && items.size() % 2 != 0) in_.fail("a key is without a value");
    container.items.insert(container.items.end(), items.begin(), items.end());
  }

  void remember(uint32_t place) {
    memo_[place] = &top();
    if (memo_.size() > max_values) in_.fail("it remembers more than {} values", max_values);
  }
  void recall(uint32_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) in_.fail("it asks for value {}, which it has not stored", place);
    push_again(*found->second);
  }
  void push_again(Value& value) {
    if (stack_.size() == max_values) in_.fail("its stack holds more than {} values", max_values);
    stack_.push_back(&value);
  }
  void mark() {
    if (marks_.size() == max_values) in_.fail("its stack holds more than {} marks", max_values);
    marks_.push_back(stack_.size());
  }

  void push_global(const std::string& module, const std::string& name) {
    if (module.size() + name.size() > max_name) in_.fail("a name has more than {} characters", max_name);
    push(Kind::global).text = module + "." + name;
  }
  void named_global() {
    const Value &name = pop(), &module = pop();
    if (!name.is(Kind::text) || !module.is(Kind::text)) in_.fail("the name of a global is no text");
    push_global(module.text, name.text);
  }

  /// The global that a call goes to: what is called may be the result of a call, or a class that torch.save wrote with its source as a persistent id.
  const Value& global_of(const Value& called) const {
    if (called.is(Kind::global)) return called;
    if (called.is(Kind::object)) return *called.items[0];
    for (const Value* part : called.is(Kind::persistent) ? called.items[0]->items : std::vector<const Value*>{}) {
      if (part->is(Kind::global)) return *part;
    }
    in_.fail("it calls {}", describe(called));
  }

  /// What a call would make, described.
  void push_object(bool with_keywords) {
    const Value* keywords = with_keywords ? &pop() : nullptr;
    const Value &arguments = pop(), &called = pop();
    const Value& global = global_of(called);
    if (!arguments.is(Kind::tuple)) in_.fail("it calls something with {} in place of a tuple", describe(arguments));
    push_items(Kind::object, {&global, &arguments});
    top().state = keywords;
  }

  void push_long(uint64_t bytes) {
    const std::string digits = in_.text(bytes);
    if (bytes > sizeof(int64_t)) {
      push(Kind::real);
      return;
    }
    uint64_t value = !digits.empty() && (digits.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    std::memcpy(&value, digits.data(), digits.size());
    push_integer(std::bit_cast<int64_t>(value));
  }

  void build() {
    const Value& state = pop();
    top().state = &state;
  }

  void version() {
    if (const int protocol = in_.byte(); protocol < 2 || protocol > 5) in_.fail("its protocol is {}; 2 to 5 are read", protocol);
  }

  void step(uint8_t opcode) {
    if (!constant(opcode) && !container(opcode) && !reference(opcode)) {
      in_.fail("opcode 0x{:02x} is none that Python writes in protocols 2 to 5. The file is damaged, or is something else.", opcode);
    }
  }

  bool constant(uint8_t opcode) {
    switch (opcode) {
      case 'N': push(Kind::none); return true;
      case 0x88: push_integer(1, Kind::boolean); return true;
      case 0x89: push_integer(0, Kind::boolean); return true;
      case 'K': push_integer(in_.byte()); return true;
      case 'M': push_integer(static_cast<int64_t>(in_.little_endian(2))); return true;
      case 'J': push_integer(static_cast<int32_t>(in_.little_endian(4))); return true;
      case 0x8a: push_long(in_.byte()); return true;
      case 0x8b: push_long(in_.little_endian(4)); return true;
      case 'G': in_.text(8), push(Kind::real); return true;
      case 'U':
      case 0x8c: push_text(Kind::text, 1); return true;
      case 'T':
      case 'X': push_text(Kind::text, 4); return true;
      case 0x8d: push_text(Kind::text, 8); return true;
      case 'C': push_text(Kind::bytes, 1); return true;
      case 'B': push_text(Kind::bytes, 4); return true;
      case 0x8e:
      case 0x96: push_text(Kind::bytes, 8); return true;
      default: return false;
    }
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case '(': mark(); return true;
      case ']': push(Kind::list); return true;
      case '}': push(Kind::dictionary); return true;
      case 0x8f: push(Kind::set); return true;
      case ')': push(Kind::tuple); return true;
      case 0x85: push_tuple(1); return true;
      case 0x86: push_tuple(2); return true;
      case 0x87: push_tuple(3); return true;
      case 't': push_items(Kind::tuple, pop_to_mark()); return true;
      case 0x91: push_items(Kind::set, pop_to_mark()); return true;
      case 'a': append({&pop()}, Kind::list); return true;
      case 'e': append(pop_to_mark(), Kind::list); return true;
      case 0x90: append(pop_to_mark(), Kind::set); return true;
      case 'u': append(pop_to_mark(), Kind::dictionary); return true;
      case 's': {
        const Value &value = pop(), &key = pop();
        append({&key, &value}, Kind::dictionary);
        return true;
      }
      default: return false;
    }
  }

  bool reference(uint8_t opcode) {
    switch (opcode) {
      case 0x80: version(); return true;
      case 0x95: in_.little_endian(8); return true;  // the length of a frame, which only helps reading ahead
      case '.': result_.root = &pop(); return true;
      case '0': marks_.empty() || stack_.size() > floor() ? static_cast<void>(pop()) : marks_.pop_back(); return true;
      case '1': pop_to_mark(); return true;
      case '2': push_again(top()); return true;
      case 'q': remember(in_.byte()); return true;
      case 'r': remember(static_cast<uint32_t>(in_.little_endian(4))); return true;
      case 0x94: remember(static_cast<uint32_t>(memo_.size())); return true;
      case 'h': recall(in_.byte()); return true;
      case 'j': recall(static_cast<uint32_t>(in_.little_endian(4))); return true;
      case 'c': {
        const std::string module = in_.line();
        push_global(module, in_.line());
        return true;
      }
      case 0x93: named_global(); return true;
      case 'R':
      case 0x81: push_object(false); return true;
      case 0x92: push_object(true); return true;
      case 'b': build(); return true;
      case 'Q': push_items(Kind::persistent, {&pop()}); return true;
      default: return false;
    }
  }

  Bytes& in_;
  Pickle result_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Value*> memo_;
};

}  // namespace

std::string describe(const PickleValue& value) {
  constexpr const char* names[] = {"None",         "a bool",      "an int",     "a number",           "a text", "bytes", "a list", "a tuple", "a set",
                                   "a dictionary", "the global ", "a call of ", "a persistent object"};
  std::string name = names[static_cast<size_t>(value.kind)];
  if (value.is(Kind::global)) name += value.text;
  if (value.is(Kind::object)) name += value.items[0]->text;
  return name;
}

Pickle read_pickle(const InputFile& file, uint64_t begin, uint64_t end) {
  Bytes bytes(file, begin, end);
  return Machine(bytes).run();
}

}  // namespace syncdr::io
