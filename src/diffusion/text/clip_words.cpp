#include "clip_words.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <utility>

#include "syncdr/core/error.h"

namespace syncdr::diffusion {
namespace {

/// The blocks of Chinese characters as BERT lists them (later extensions are not among them).
bool is_ideograph(UChar32 c) {
  constexpr UChar32 blocks[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                   {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  for (const auto& [first, last] : blocks) {
    if (c >= first && c <= last) return true;
  }
  return false;
}

icu::UnicodeString without_controls(const icu::UnicodeString& text) {
  icu::UnicodeString kept;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    const uint32_t category = U_GET_GC_MASK(c);
    if (c == '\t' || c == '\n' || c == '\r' || (category & U_GC_ZS_MASK)) {
      kept.append(u' ');
    } else if (c == 0xFFFD || (category & U_GC_C_MASK)) {
      continue;
    } else if (is_ideograph(c)) {
      kept.append(u' ').append(c).append(u' ');
    } else {
      kept.append(c);
    }
  }
  return kept;
}

icu::UnicodeString with_single_spaces(const icu::UnicodeString& text) {
  icu::UnicodeString kept;
  bool space = false;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    const bool before = std::exchange(space, bool(u_isUWhiteSpace(c)));
    if (!space) kept.append(c);
    if (space && !before) kept.append(u' ');
  }
  return kept;
}

/// Each character's lower case by itself: a sigma that ends a word is like any other.
icu::UnicodeString lower_alone(const icu::UnicodeString& text) {
  constexpr UChar32 capital_dotted_i = 0x130;  // the only one whose lower case is two characters
  icu::UnicodeString lower;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    if (c == capital_dotted_i) lower.append(u"i\u0307", 2);
    else lower.append(u_tolower(c));
  }
  return lower;
}

enum class Kind { space, letter, digit, other };

Kind kind_of(UChar32 c, WordRules rules) {
  // The iota subscript is a mark whose upper case is a letter: of python's pattern, which ignores case, neither "letters" nor "no letters" match it.
  constexpr UChar32 iota_subscript = 0x345;
  if (u_isUWhiteSpace(c) || (c == iota_subscript && rules == WordRules::python)) return Kind::space;
  const uint32_t category = U_GET_GC_MASK(c);
  if (category & U_GC_L_MASK) return Kind::letter;
  return category & U_GC_N_MASK ? Kind::digit : Kind::other;
}

/// The code point at `at` and, through `at`, where the next begins.
UChar32 next_character(std::string_view text, int32_t& at) {
  UChar32 c;
  U8_NEXT_OR_FFFD(text.data(), at, int32_t(text.size()), c);
  return c;
}

/// The length of `word` at the start of text, 0 if it is not there. python's pattern ignores case, and the long s is a lower-case letter that folds
/// to s.
size_t literal_length(std::string_view text, std::string_view word, WordRules rules) {
  constexpr std::string_view long_s = "\u017F";
  size_t at = 0;
  for (const char c : word) {
    if (at < text.size() && text[at] == c) {
      ++at;
    } else if (c == 's' && rules == WordRules::python && text.substr(at).starts_with(long_s)) {
      at += long_s.size();
    } else {
      return 0;
    }
  }
  return at;
}

/// The length of start or end at the start of text.
size_t mark_length(std::string_view text, WordRules rules) {
  if (text[0] != '<' || rules == WordRules::library) return 0;
  const size_t start = literal_length(text, "<|startoftext|>", rules);
  return start ? start : literal_length(text, "<|endoftext|>", rules);
}

size_t contraction_length(std::string_view text, WordRules rules) {
  if (text[0] != '\'') return 0;
  for (const char* word : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (const size_t length = literal_length(text, word, rules)) return length;
  }
  return 0;
}

/// The length of the run of characters of the first one's kind; of digits each stands alone.
size_t run_length(std::string_view text, WordRules rules) {
  int32_t end = 0;
  const Kind kind = kind_of(next_character(text, end), rules);
  while (kind != Kind::digit && size_t(end) < text.size()) {
    int32_t after = end;
    if (kind_of(next_character(text, after), rules) != kind) break;
    end = after;
  }
  return size_t(end);
}

icu::UnicodeString characters_of(std::string_view bytes) { return icu::UnicodeString::fromUTF8({bytes.data(), int32_t(bytes.size())}); }

std::string bytes_of_characters(const icu::UnicodeString& characters) {
  std::string bytes;
  characters.toUTF8String(bytes);
  return bytes;
}

}  // namespace

std::string clean_text(std::string_view text, WordRules rules) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  const icu::UnicodeString raw = characters_of(text);
  icu::UnicodeString cleaned = U_SUCCESS(status) ? nfc->normalize(rules == WordRules::python ? without_controls(raw) : raw, status) : raw;
  if (U_FAILURE(status)) throw core::BugError("ICU cannot normalise text: {}", u_errorName(status));
  if (rules == WordRules::python) cleaned.toLower(icu::Locale::getRoot());
  else cleaned = lower_alone(with_single_spaces(cleaned));
  return bytes_of_characters(cleaned);
}

std::vector<std::string> split_words(std::string_view cleaned, WordRules rules) {
  std::vector<std::string> words;
  while (!cleaned.empty()) {
    int32_t first = 0;
    const bool space = kind_of(next_character(cleaned, first), rules) == Kind::space;
    const size_t mark = mark_length(cleaned, rules);
    size_t length = mark ? mark : contraction_length(cleaned, rules);
    if (length == 0) length = run_length(cleaned, rules);
    const std::string_view word = cleaned.substr(0, length);
    if (mark && rules != WordRules::python) {
      for (const std::string_view part : {word.substr(0, 2), word.substr(2, mark - 4), word.substr(mark - 2)}) words.emplace_back(part);
    } else if (!space) {
      words.emplace_back(word);
    }
    cleaned.remove_prefix(length);
  }
  return words;
}

std::string whole_characters(std::string_view bytes) { return bytes_of_characters(characters_of(bytes)); }

}  // namespace syncdr::diffusion
