#include "tokenizer_files.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "syncdr/core/error.h"
#include "syncdr/diffusion/checkpoint.h"
#include "syncdr/io/json.h"

namespace syncdr::diffusion {
namespace json = boost::json;
namespace fs = std::filesystem;
namespace {

constexpr int64_t max_ids = int64_t{1} << 24, max_length = 65536;

std::unordered_map<std::string, int64_t> read_vocabulary(const fs::path& file) {
  const std::string where = file.string();
  const json::value content = io::read_json(file);
  const json::object& object = io::as_object(content, where);
  std::unordered_map<std::string, int64_t> vocabulary;
  std::vector<bool> taken(object.size());
  for (const auto& item : object) {
    const int64_t* id = item.value().if_int64();
    if (!id || *id < 0 || *id >= int64_t(taken.size()) || taken[size_t(*id)])
      throw core::DataError("{}: \"{}\": the ids are not 0 to {}, each once", where, std::string(item.key()), int64_t(taken.size()) - 1);
    taken[size_t(*id)] = true;
    vocabulary.emplace(item.key(), *id);
  }
  if (vocabulary.empty()) throw core::DataError("{}: holds no tokens", where);
  return vocabulary;
}

/// A token's text; it is a string or an object (transformers' AddedToken). The options that would move the text around it are not
/// supported.
std::string token_text(const json::value& value, const std::string& where) {
  if (value.is_string()) return std::string(value.get_string());
  ConfigReader token(io::as_object(value, where), where);
  for (const char* option : {"lstrip", "rstrip", "single_word"}) token.only(option, false);
  for (const char* note : {"normalized", "special", "id"})
    token.ignore(note);  // normalized would matter to a tokenizer that keeps upper case
  const std::string text = token.text("content", "");
  token.finish();
  if (text.empty()) token.refuse("content", "is empty");
  return text;
}

/// Overwrites the special tokens that this file names.
void read_special_tokens(ConfigReader& reader, TokenizerFiles& files) {
  const std::pair<const char*, std::string*> parts[] = {
      {"bos_token", &files.start}, {"eos_token", &files.end}, {"unk_token", &files.unknown}, {"pad_token", &files.pad}};
  const auto where = [&](const char* name) { return fmt::format("{}: \"{}\"", reader.where(), name); };
  for (const auto& [name, token] : parts) {
    reader.ignore(name);
    if (reader.has(name)) *token = token_text(reader.fields().at(name), where(name));
  }
  for (const char* name : {"sep_token", "cls_token", "mask_token"}) {
    reader.ignore(name);
    if (reader.has(name)) files.others.push_back(token_text(reader.fields().at(name), where(name)));
  }
  const char* const more = "additional_special_tokens";
  reader.ignore(more);
  if (!reader.has(more)) return;
  for (const json::value& token : io::json_array(reader.fields(), more, reader.where()))
    files.others.push_back(token_text(token, where(more)));
}

void read_length(ConfigReader& reader, TokenizerFiles& files) {
  const double length = reader.number("model_max_length", reader.number("max_len", double(files.length)));
  if (length >= 1e18) return;  // transformers' way to say that there is no limit; CLIP's is 77
  if (!(length >= 3 && length <= double(max_length)) || length != double(int64_t(length)))
    reader.refuse("model_max_length", fmt::format("is {}, not a whole number from 3 to {}", length, max_length));
  files.length = int64_t(length);
}

/// "added_tokens_decoder": id -> token.
void read_added_decoder(const json::value& value, const std::string& where, TokenizerFiles& files) {
  for (const auto& item : io::as_object(value, where)) {
    int64_t id = -1;
    const std::string key(item.key());
    if (std::from_chars(key.data(), key.data() + key.size(), id).ptr != key.data() + key.size())
      throw core::DataError("{}: \"{}\" is no id", where, key);
    files.added.emplace_back(token_text(item.value(), where), id);
  }
}

/// Returns true if the file lists all added tokens, which makes the older files void.
bool read_configuration(const fs::path& file, TokenizerFiles& files) {
  if (!fs::exists(file)) return false;
  ConfigReader reader(file);
  read_special_tokens(reader, files);
  read_length(reader, files);
  reader.only("padding_side", "right");
  reader.only("truncation_side", "right");
  reader.only("split_special_tokens", false);
  reader.only("extra_special_tokens", json::object());
  if (reader.has("tokenizer_class") && reader.text("tokenizer_class", "") != "CLIPTokenizerFast")
    reader.only("tokenizer_class", "CLIPTokenizer");
  // do_lower_case and add_prefix_space have no effect in the original's CLIPTokenizer either; the others concern decoding or are notes.
  for (const char* name :
       {"do_lower_case", "add_prefix_space", "errors", "clean_up_tokenization_spaces", "name_or_path", "special_tokens_map_file",
        "tokenizer_file", "processor_class", "use_fast", "auto_map", "model_input_names", "chat_template", "tokenizer_class"})
    reader.ignore(name);
  const char* const decoder = "added_tokens_decoder";
  reader.ignore(decoder);
  if (reader.has(decoder)) read_added_decoder(reader.fields().at(decoder), fmt::format("{}: \"{}\"", reader.where(), decoder), files);
  reader.finish();
  return reader.fields().contains(decoder);
}

/// The files of older versions, in the original's order of precedence.
void read_older_files(const fs::path& folder, TokenizerFiles& files) {
  if (const fs::path file = folder / "special_tokens_map.json"; fs::exists(file)) {
    ConfigReader reader(file);
    read_special_tokens(reader, files);
    reader.finish();
  }
  if (const fs::path file = folder / "added_tokens.json"; fs::exists(file)) {
    const json::value content = io::read_json(file);
    const json::object& tokens = io::as_object(content, file.string());
    for (const auto& item : tokens)
      files.added.emplace_back(item.key(), io::json_int(tokens, std::string(item.key()).c_str(), file.string()));
  }
  if (const fs::path file = folder / "tokenizer.json"; fs::exists(file)) {
    const json::value content = io::read_json(file);
    const std::string where = file.string() + ": added_tokens";
    for (const json::value& token : io::json_array(io::as_object(content, file.string()), "added_tokens", file.string()))
      files.added.emplace_back(token_text(token, where), io::json_int(io::as_object(token, where), "id", where));
  }
}

void check_added(const TokenizerFiles& files, const std::string& where) {
  for (const auto& [token, id] : files.added) {
    const auto known = files.vocabulary.find(token);
    if (id < 0 || id >= max_ids || (known != files.vocabulary.end() && known->second != id))
      throw core::DataError("{}: the added token \"{}\" has id {}{}", where, token, id,
                            known == files.vocabulary.end() ? "" : fmt::format(", vocab.json gives it {}", known->second));
  }
}

}  // namespace

TokenizerFiles read_tokenizer_files(const fs::path& folder) {
  TokenizerFiles files;
  files.vocabulary = read_vocabulary(folder / "vocab.json");
  if (!read_configuration(folder / "tokenizer_config.json", files)) read_older_files(folder, files);
  check_added(files, folder.string());
  return files;
}

}  // namespace syncdr::diffusion
