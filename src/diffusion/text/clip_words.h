#pragma once
#include <string>
#include <string_view>
#include <vector>

/// What CLIP's tokenizer does with text before byte pairs: cleaning, then splitting into words. The Unicode data is ICU's: characters that are younger
/// than it are kept, and are no letters.
namespace syncdr::diffusion {

/// The tokenizers that transformers has had for CLIP.
enum class WordRules {
  python,         ///< CLIPTokenizer of transformers 4, where ftfy is not installed
  library,        ///< the library tokenizers: CLIPTokenizerFast of transformers 4
  library_marked  ///< the same with start and end in the pattern: CLIPTokenizer of transformers 5
};

/// python: control and format characters, unassigned ones and U+FFFD are dropped; white space becomes a space; ideographs stand alone; then NFC and
/// lower case (BasicTokenizer of BERT with strip_accents and do_split_on_punc off). Otherwise NFC, a space for each run of white space, and the lower
/// case of each character alone, whatever stands beside it. Bytes that are no UTF-8 count as U+FFFD.
std::string clean_text(std::string_view text, WordRules rules);

/// The matches of CLIP's pattern
///     <|startoftext|> or <|endoftext|> or 's 't 're 've 'm 'll 'd or a run of letters or one digit or a run of neither
/// in cleaned text. White space separates and is not in them. python's pattern ignores case. library's lacks start and end; library_marked's has them,
/// and they are split again: the mark is no token, but it ends a run.
std::vector<std::string> split_words(std::string_view cleaned, WordRules rules);

/// U+FFFD for bytes that are no UTF-8.
std::string whole_characters(std::string_view bytes);

}  // namespace syncdr::diffusion
