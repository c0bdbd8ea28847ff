#include "tokenizer_files.h"

#include <boost/json.hpp>
#include <charconv>
#include <sstream>
#include <unordered_set>

#include "syncdr/core/error.h"
#include "syncdr/diffusion/checkpoint.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/foreign.h"
#include "syncdr/io/json.h"

namespace syncdr::diffusion {
namespace json = boost::json;
namespace fs = std::filesystem;
namespace {

constexpr int64_t max_ids = int64_t{1} << 24, max_length = 65536;
constexpr size_t max_merges = 49152 - 256 - 2;  // python's reads no more: its vocabulary less the bytes and two special tokens

/// merges.txt: a line of heading, then one "LEFT RIGHT" a line, the most frequent first.
Merges read_merges(const fs::path& file) {
  if (!fs::exists(file)) throw core::DataError("{}: is not there. Download the tokenizer's folder again", file.string());
  std::string content = io::read_file(file, uint64_t{64} << 20);
  io::refuse_foreign(content, content.size(), file.string());
  content.erase(content.find_last_not_of(" \t\r\n") + 1);
  std::istringstream lines(content);
  std::string line, left, right, more;
  std::getline(lines >> std::ws, line);  // "#version: 0.2"
  Merges merges;
  while (merges.size() < max_merges && std::getline(lines, line)) {
    std::istringstream parts(line);
    if (!(parts >> left >> right) || parts >> more) throw core::DataError("{}: line {} is not \"LEFT RIGHT\"", file.string(), merges.size() + 2);
    merges.emplace_back(left, right);
  }
  return merges;
}

/// Words of the vocabulary that no merge makes can never be found in a text: a few may have been added by hand, many are a file that was cut short.
void check_merges(const TokenizerFiles& files, const fs::path& folder) {
  std::unordered_set<std::string> made;
  for (const std::string& letter : byte_letters()) made.insert({letter, letter + "</w>"});
  for (const auto& [left, right] : files.merges) made.insert(left + right);
  int64_t missing = 0;
  for (const auto& [token, id] : files.vocabulary) missing += !made.contains(token) && !token.starts_with("<|");
  if (missing * 100 > int64_t(files.vocabulary.size()))
    throw core::DataError("{}: makes all but {} of the {} tokens of vocab.json: it was cut short, or belongs to another vocabulary. Download it again",
                          (folder / "merges.txt").string(), missing, files.vocabulary.size());
}

/// A token is a string or an object (transformers' AddedToken). The options that would move the text around it are not supported.
AddedToken token_of(const json::value& value, const std::string& where, int64_t id = -1) {
  if (value.is_string()) return {std::string(value.get_string()), /*normalized=*/false, id};
  ConfigReader reader(io::as_object(value, where), where);
  for (const char* option : {"lstrip", "rstrip", "single_word"}) reader.only(option, false);
  reader.ignore("special id");
  const AddedToken token{reader.text("content", ""), reader.boolean("normalized", false), id};
  reader.finish();
  if (token.text.empty()) reader.refuse("content", "is empty");
  return token;
}

void read_others(ConfigReader& reader, const char* name, TokenizerFiles& files) {
  reader.ignore(name);
  if (!reader.has(name)) return;
  for (const json::value& token : io::json_array(reader.fields(), name, reader.where()))
    files.others.push_back(token_of(token, fmt::format("{}: \"{}\"", reader.where(), name)));
}

/// Overwrites the special tokens that this file names.
void read_special_tokens(ConfigReader& reader, TokenizerFiles& files) {
  const std::pair<const char*, AddedToken*> parts[] = {
      {"bos_token", &files.start}, {"eos_token", &files.end}, {"unk_token", &files.unknown}, {"pad_token", &files.pad}};
  const auto where = [&](const char* name) { return fmt::format("{}: \"{}\"", reader.where(), name); };
  for (const auto& [name, token] : parts) {
    reader.ignore(name);
    if (reader.has(name)) *token = token_of(reader.fields().at(name), where(name));
  }
  for (const char* name : {"sep_token", "cls_token", "mask_token"}) {
    reader.ignore(name);
    if (reader.has(name)) files.others.push_back(token_of(reader.fields().at(name), where(name)));
  }
  read_others(reader, "additional_special_tokens", files);
  // A list in transformers 5; in 4 an object with a name for each, of which CLIP's has none.
  const char* const extra = "extra_special_tokens";
  if (reader.has(extra) && reader.fields().at(extra).is_array()) read_others(reader, extra, files);
  else reader.only(extra, json::object());
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
    if (std::from_chars(key.data(), key.data() + key.size(), id).ptr != key.data() + key.size()) throw core::DataError("{}: \"{}\" is no id", where, key);
    files.added.push_back(token_of(item.value(), where, id));
  }
}

struct Configuration {
  bool lists_added = false;  ///< all added tokens, which makes the older files void
  bool of_library = false;   ///< the library wrote the folder
};

Configuration read_configuration(const fs::path& file, TokenizerFiles& files) {
  if (!fs::exists(file)) return {};
  ConfigReader reader(file);
  read_special_tokens(reader, files);
  read_length(reader, files);
  reader.only("padding_side", "right");
  reader.only("truncation_side", "right");
  reader.only("split_special_tokens", false);
  if (reader.has("tokenizer_class") && reader.text("tokenizer_class", "") != "CLIPTokenizerFast") reader.only("tokenizer_class", "CLIPTokenizer");
  // do_lower_case and add_prefix_space have no effect in the original's CLIPTokenizer either; the others concern decoding, batches or are notes.
  reader.ignore(R"(
      do_lower_case add_prefix_space errors clean_up_tokenization_spaces name_or_path special_tokens_map_file tokenizer_file processor_class
      use_fast auto_map model_input_names chat_template tokenizer_class is_local local_files_only max_length stride truncation_strategy
      pad_to_multiple_of pad_token_type_id torch_dtype dtype revision trust_remote_code cache_dir)");
  const char* const decoder = "added_tokens_decoder";
  reader.ignore(decoder);
  if (reader.has(decoder)) read_added_decoder(reader.fields().at(decoder), fmt::format("{}: \"{}\"", reader.where(), decoder), files);
  const Configuration found{.lists_added = reader.fields().contains(decoder), .of_library = reader.text("backend", "") == "tokenizers"};
  reader.finish();
  return found;
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
      files.added.push_back({std::string(item.key()), /*normalized=*/true, io::json_int(tokens, std::string(item.key()).c_str(), file.string())});
  }
}

/// Gives the vocabulary the added tokens that have ids.
void join_added(TokenizerFiles& files, const std::string& where) {
  for (const AddedToken& token : files.added) {
    if (token.id < 0 || token.id >= max_ids) throw core::DataError("{}: the added token \"{}\" has id {}", where, token.text, token.id);
    const auto known = files.vocabulary.emplace(token.text, token.id).first;
    if (known->second != token.id)
      throw core::DataError("{}: the added token \"{}\" has id {}; elsewhere in this folder it has {}", where, token.text, token.id, known->second);
  }
}

}  // namespace

std::unordered_map<std::string, int64_t> read_vocabulary(const json::object& ids, const std::string& where) {
  std::unordered_map<std::string, int64_t> vocabulary;
  std::vector<bool> taken(ids.size());
  for (const auto& item : ids) {
    const int64_t* id = item.value().if_int64();
    if (!id || *id < 0 || *id >= int64_t(taken.size()) || taken[size_t(*id)])
      throw core::DataError("{}: \"{}\": the ids are not 0 to {}, each once", where, std::string(item.key()), int64_t(taken.size()) - 1);
    taken[size_t(*id)] = true;
    vocabulary.emplace(item.key(), *id);
  }
  if (vocabulary.empty()) throw core::DataError("{}: holds no tokens", where);
  return vocabulary;
}

void read_added_tokens(const json::object& tokenizer, const std::string& where, TokenizerFiles& files) {
  const std::string place = where + ": added_tokens";
  for (const json::value& token : io::json_array(tokenizer, "added_tokens", where))
    files.added.push_back(token_of(token, place, io::json_int(io::as_object(token, place), "id", place)));
}

TokenizerFiles read_tokenizer_files(const fs::path& folder, bool by_library) {
  TokenizerFiles files;
  const Configuration configuration = read_configuration(folder / "tokenizer_config.json", files);
  if (!configuration.lists_added) read_older_files(folder, files);
  const fs::path one = folder / "tokenizer.json", vocabulary = folder / "vocab.json";
  if (by_library && !fs::exists(one))
    throw core::DataError(
        "{}: is not there, and the checkpoint names CLIPTokenizerFast, which reads it. Download the tokenizer's folder again, or name "
        "CLIPTokenizer in model_index.json",
        one.string());
  if (fs::exists(one) && (by_library || configuration.of_library || !fs::exists(vocabulary))) {
    read_tokenizer_json(one, files);
  } else {
    if (!fs::exists(vocabulary))
      throw core::DataError("{}: is not there, and tokenizer.json is not either. Download the tokenizer's folder again", vocabulary.string());
    const json::value content = io::read_json(vocabulary);
    files.vocabulary = read_vocabulary(io::as_object(content, vocabulary.string()), vocabulary.string());
    files.merges = read_merges(folder / "merges.txt");
    check_merges(files, folder);
    if (fs::exists(one) && !configuration.lists_added) {
      const json::value added = io::read_json(one);
      read_added_tokens(io::as_object(added, one.string()), one.string(), files);
    }
  }
  join_added(files, folder.string());
  return files;
}

}  // namespace syncdr::diffusion
