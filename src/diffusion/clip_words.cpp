#include "clip_words.h"

#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

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

enum class Kind { space, letter, digit, other };

Kind kind_of(UChar32 c) {
  // The iota subscript is a mark whose upper case is a letter: of the original's pattern, which ignores case, neither "letters" nor "no
  // letters" match it.
  constexpr UChar32 iota_subscript = 0x345;
  if (c == iota_subscript || u_isUWhiteSpace(c)) return Kind::space;
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

/// The length of `word` at the start of text, 0 if it is not there. The pattern ignores case, and the long s is a lower-case letter that
/// folds to s.
size_t literal_length(std::string_view text, std::string_view word) {
  constexpr std::string_view long_s = "\u017F";
  size_t at = 0;
  for (const char c : word) {
    if (at < text.size() && text[at] == c) {
      ++at;
    } else if (c == 's' && text.substr(at).starts_with(long_s)) {
      at += long_s.size();
    } else {
      return 0;
    }
  }
  return at;
}

size_t special_length(std::string_view text) {
  if (text[0] != '<' && text[0] != '\'') return 0;
  for (const char* word : {"<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (const size_t length = literal_length(text, word)) return length;
  }
  return 0;
}

/// The length of the run of characters of the first one's kind; of digits each stands alone.
size_t run_length(std::string_view text) {
  int32_t end = 0;
  const Kind kind = kind_of(next_character(text, end));
  while (kind != Kind::digit && size_t(end) < text.size()) {
    int32_t after = end;
    if (kind_of(next_character(text, after)) != kind) break;
    end = after;
  }
  return size_t(end);
}

}  // namespace

std::string clean_text(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  const icu::UnicodeString raw = icu::UnicodeString::fromUTF8({text.data(), int32_t(text.size())});  // U+FFFD for what is no UTF-8
  icu::UnicodeString cleaned = U_SUCCESS(status) ? nfc->normalize(without_controls(raw), status) : raw;
  if (U_FAILURE(status)) throw core::BugError("ICU cannot normalise text: {}", u_errorName(status));
  cleaned.toLower(icu::Locale::getRoot());
  std::string out;
  cleaned.toUTF8String(out);
  return out;
}

std::vector<std::string> split_words(std::string_view cleaned) {
  std::vector<std::string> words;
  while (!cleaned.empty()) {
    int32_t first = 0;
    const bool space = kind_of(next_character(cleaned, first)) == Kind::space;
    size_t length = special_length(cleaned);
    if (length == 0) length = run_length(cleaned);
    if (!space) words.emplace_back(cleaned.substr(0, length));
    cleaned.remove_prefix(length);
  }
  return words;
}

}  // namespace syncdr::diffusion
