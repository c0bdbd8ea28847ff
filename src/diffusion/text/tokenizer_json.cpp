#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "syncdr/core/error.h"
#include "syncdr/io/json.h"
#include "tokenizer_files.h"

/// tokenizer.json, the file of the library tokenizers, as far as CLIP's tokenizers use it.
namespace syncdr::diffusion {
namespace json = boost::json;
namespace {

constexpr const char* mend =
    "Save the tokenizer again with transformers' CLIPTokenizer, or take the tokenizer's folder of the checkpoint that this one was made from";

[[noreturn]] void refuse(const std::string& where, std::string_view name, const std::string& why) {
  throw core::DataError("{}: \"{}\" {}. {}", where, name, why, mend);
}

std::string shown(const json::value& value) {
  const std::string text = json::serialize(value);
  return text.size() <= 200 ? text : text.substr(0, 200) + "...";
}

const json::value& part_of(const json::object& object, const char* name) {
  static const json::value none;
  const json::value* found = object.if_contains(name);
  return found ? *found : none;
}

/// The steps of a Sequence, or the one step that a part is, without what concerns offsets and what says the default.
json::array steps_of(const json::value& part, const char* list) {
  const json::object* object = part.if_object();
  const json::value* sequence = object ? object->if_contains(list) : nullptr;
  json::array steps;
  if (sequence && sequence->is_array()) steps = sequence->get_array();
  else steps.emplace_back(part);
  for (json::value& step : steps) {
    json::object* fields = step.if_object();
    if (!fields) continue;
    fields->erase("trim_offsets");
    if (part_of(*fields, "use_regex") == true) fields->erase("use_regex");
  }
  return steps;
}

void check_steps(const json::array& steps, const json::array& expected, const std::string& where, const char* name) {
  const auto [found, wanted] = std::mismatch(steps.begin(), steps.end(), expected.begin(), expected.end());
  if (found == steps.end() && wanted == expected.end()) return;
  refuse(where, name,
         fmt::format("has {} where CLIP's has {}", found == steps.end() ? "nothing" : shown(*found), wanted == expected.end() ? "nothing" : shown(*wanted)));
}

void check_normalizer(const json::object& tokenizer, const std::string& where) {
  static const json::array steps = json::parse(R"([{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                                                   {"type": "Lowercase"}])")
                                       .as_array();
  check_steps(steps_of(part_of(tokenizer, "normalizer"), "normalizers"), steps, where, "normalizer");
}

WordRules read_pre_tokenizer(const json::object& tokenizer, const std::string& where) {
  static const std::string words = R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)", marks = R"(<\|startoftext\|>|<\|endoftext\|>|)";
  const auto expected = [](const std::string& pattern) {
    return json::array{{{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Removed"}, {"invert", true}},
                       {{"type", "ByteLevel"}, {"add_prefix_space", false}}};
  };
  const json::array steps = steps_of(part_of(tokenizer, "pre_tokenizer"), "pretokenizers");
  if (steps == expected(words)) return WordRules::library;
  check_steps(steps, expected(marks + words), where, "pre_tokenizer");
  return WordRules::library_marked;
}

std::pair<std::string, std::string> read_merge(const json::value& merge, const std::string& where, size_t number) {
  const auto text = [](const json::value& part) { return part.is_string() ? std::string(part.get_string()) : ""; };
  std::pair<std::string, std::string> parts;
  if (merge.is_array() && merge.get_array().size() == 2) {
    parts = {text(merge.get_array()[0]), text(merge.get_array()[1])};
  } else {  // files of older versions
    const std::string both = text(merge);
    const size_t space = both.find(' ');
    if (space != std::string::npos && both.find(' ', space + 1) == std::string::npos) parts = {both.substr(0, space), both.substr(space + 1)};
  }
  if (parts.first.empty() || parts.second.empty()) throw core::DataError("{}: merge {} is not a left and a right symbol", where, number);
  return parts;
}

/// Of a list as it is trained each merge joins what is there already and makes what is new. Of others the library's order of merging is another one.
void read_merges(const json::array& list, const std::string& where, TokenizerFiles& files) {
  std::set<std::string> made;
  for (const std::string& letter : byte_letters()) made.insert({letter, letter + "</w>"});
  for (const json::value& item : list) {
    const size_t number = files.merges.size();
    const auto merge = read_merge(item, where, number);
    const std::string whole = merge.first + merge.second;
    const bool known = made.contains(merge.first) && made.contains(merge.second) && files.vocabulary.contains(merge.first) &&
                       files.vocabulary.contains(merge.second) && files.vocabulary.contains(whole);
    if (!known || !made.insert(whole).second)
      refuse(where, "merges", fmt::format("{}, \"{} {}\", joins symbols that are not there yet or makes one that is", number, merge.first, merge.second));
    files.merges.push_back(merge);
  }
}

void read_model(const json::object& model, const std::string& where, TokenizerFiles& files) {
  static const json::object clip{{"type", "BPE"},     {"dropout", nullptr},     {"continuing_subword_prefix", ""}, {"end_of_word_suffix", "</w>"},
                                 {"fuse_unk", false}, {"byte_fallback", false}, {"ignore_merges", false}};
  for (const auto& [name, value] : model) {
    if (name == "vocab" || name == "merges") continue;
    if (name == "unk_token") {
      if (!value.is_null() && value != json::value(files.unknown.text))
        refuse(where, name, fmt::format("is {}; the tokenizer's unknown token is \"{}\"", shown(value), files.unknown.text));
      continue;
    }
    const json::value* expected = clip.if_contains(name);
    const bool no_prefix = name == "continuing_subword_prefix" && value.is_null();
    if (!expected || (value != *expected && !no_prefix))
      refuse(where, name, fmt::format("is {}; CLIP's is {}", shown(value), expected ? shown(*expected) : "not there"));
  }
  if (!model.contains("end_of_word_suffix")) refuse(where, "end_of_word_suffix", "is missing; CLIP's is \"</w>\"");
  files.vocabulary = read_vocabulary(io::json_object(model, "vocab", where), where);
  read_merges(io::json_array(model, "merges", where), where, files);
}

/// Texts are framed by start and end, cut and padded on the right.
void check_frame(const json::object& tokenizer, const std::string& where, const TokenizerFiles& files) {
  const auto token = [](const json::value& pair) { return pair.is_array() && !pair.get_array().empty() ? pair.get_array()[0] : json::value(); };
  const json::value& post = part_of(tokenizer, "post_processor");
  const json::object* frame = post.if_object();
  if (!frame || part_of(*frame, "type") != "RobertaProcessing" || token(part_of(*frame, "cls")) != json::value(files.start.text) ||
      token(part_of(*frame, "sep")) != json::value(files.end.text))
    refuse(where, "post_processor", fmt::format("is {}; CLIP's is RobertaProcessing with \"{}\" and \"{}\"", shown(post), files.start.text, files.end.text));
  for (const char* name : {"truncation", "padding"}) {
    const json::value& part = part_of(tokenizer, name);
    if (part.is_null()) continue;
    const json::object& settings = io::as_object(part, where);
    const json::value &side = part_of(settings, "direction"), &pad = part_of(settings, "pad_token");
    if ((!side.is_null() && side != "Right") || (!pad.is_null() && pad != json::value(files.pad.text)))
      refuse(where, name, fmt::format("is {}; CLIP's is on the right, with \"{}\"", shown(part), files.pad.text));
  }
}

}  // namespace

void read_tokenizer_json(const std::filesystem::path& file, TokenizerFiles& files) {
  const std::string where = file.string();
  const json::value content = io::read_json(file);
  const json::object& tokenizer = io::as_object(content, where);
  for (const auto& [name, value] : tokenizer) {
    static const std::set<std::string_view> known{"version",       "truncation",     "padding", "added_tokens", "normalizer",
                                                  "pre_tokenizer", "post_processor", "decoder", "model"};
    if (!known.contains(name)) refuse(where, name, fmt::format("({}) is not known", shown(value)));
  }
  check_normalizer(tokenizer, where);
  files.rules = read_pre_tokenizer(tokenizer, where);
  check_frame(tokenizer, where, files);
  read_model(io::json_object(tokenizer, "model", where), where + ": model", files);
  read_added_tokens(tokenizer, where, files);
}

}  // namespace syncdr::diffusion
