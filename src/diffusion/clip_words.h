#pragma once
#include <string>
#include <string_view>
#include <vector>

/// What CLIP's tokenizer does with text before byte pairs: cleaning, then splitting into words. The Unicode data is ICU's: characters
/// younger than the original's data are dropped there and kept here.
namespace syncdr::diffusion {

/// Control and format characters, unassigned ones and bytes that are no UTF-8 are dropped; white space becomes a space; ideographs stand
/// alone; then NFC and lower case (BasicTokenizer of BERT with strip_accents and do_split_on_punc off, which the original takes where ftfy
/// is not installed).
std::string clean_text(std::string_view text);

/// The matches of CLIP's pattern
///     <|startoftext|> or <|endoftext|> or 's 't 're 've 'm 'll 'd or a run of letters or one digit or a run of neither
/// in cleaned text. White space separates and is not in them.
std::vector<std::string> split_words(std::string_view cleaned);

}  // namespace syncdr::diffusion
