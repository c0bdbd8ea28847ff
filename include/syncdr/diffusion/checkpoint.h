#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "syncdr/io/safetensors.h"

/// Checkpoint folders in the layout of Hugging Face diffusers, as they are downloaded: model_index.json names the components; each is a folder with
/// a configuration and weights.
namespace syncdr::diffusion {

/// Reads one component's configuration. Every field must be asked for: finish() refuses those that were not, so that nothing which changes the
/// model's output is passed over. All functions throw DataError naming file and field.
class ConfigReader {
 public:
  /// file: config.json, scheduler_config.json, ... Names that begin with "_" are the writer's notes and pass.
  explicit ConfigReader(const std::filesystem::path& file);
  ConfigReader(boost::json::object fields, std::string where);

  /// A field; the fallback where it is missing or null (the original's default).
  int64_t integer(const char* name, int64_t fallback);
  int64_t integer(const char* name, int64_t fallback, int64_t low, int64_t high);  ///< within low to high
  double number(const char* name, double fallback);
  bool boolean(const char* name, bool fallback);
  std::string text(const char* name, const std::string& fallback);
  std::vector<int64_t> integers(const char* name, const std::vector<int64_t>& fallback);
  std::vector<std::string> texts(const char* name, const std::vector<std::string>& fallback);
  /// One number for all of count levels, or a list of count numbers (attention_head_dim, transformer_layers_per_block).
  std::vector<int64_t> per_level(const char* name, size_t count, int64_t fallback);

  /// A field of which we support one value only; it may be missing. The message names value and supported value.
  void only(const char* name, const boost::json::value& supported);
  /// Fields without influence on what is computed here: names with white space between them.
  void ignore(const std::string& names);
  /// True if the field is there and not null.
  bool has(const char* name) const;

  /// Throws if fields are left that nobody asked for.
  void finish() const;
  /// Throws if the field is there and null, where null does not mean the default.
  void refuse_null(const char* name) const;
  /// Throws unless the value that was read lies within low to high.
  void check_range(const char* name, int64_t value, int64_t low, int64_t high) const;
  /// For messages of a value that makes no sense: DataError "FILE: "NAME" ...".
  [[noreturn]] void refuse(const char* name, const std::string& why) const;
  const std::string& where() const { return where_; }
  const boost::json::object& fields() const { return fields_; }

 private:
  /// Null where the field is missing or null. Throws if it is not what `is` asks for, `kind` in words.
  const boost::json::value* find(const char* name, bool (boost::json::value::*is)() const, const char* kind);

  boost::json::object fields_;
  std::string where_;
  std::set<std::string> seen_;
};

/// A checkpoint: the folder that holds model_index.json.
class CheckpointFolder {
 public:
  /// variant: "fp16" for weights named *.fp16.safetensors; empty: without. Throws DataError if there is no readable model_index.json, or if no component
  /// has weights of the variant.
  explicit CheckpointFolder(std::filesystem::path root, std::string variant = "");

  const std::filesystem::path& root() const { return root_; }
  const std::string& variant() const { return variant_; }
  /// "StableDiffusionPipeline"
  const std::string& pipeline() const { return pipeline_; }
  /// The component's class ("UNet2DConditionModel"). Throws DataError if the index lacks it.
  const std::string& class_of(const std::string& component) const;
  /// The component's folder, after checking that its class is the expected one. Throws DataError naming both classes, or the missing folder.
  std::filesystem::path component(const std::string& name, const std::string& expected_class) const;
  /// The component's weights: STEM[.variant].safetensors, or the shards that STEM.safetensors.index[.variant].json lists. A component that lacks the
  /// variant gives its plain weights, with a warning. dtypes as stored. Throws DataError: neither is there, a shard is missing or holds other tensors
  /// than the index says.
  io::NamedTensors weights(const std::string& component, const std::string& stem) const;
  /// XXH3-128 over the files that say what is computed with the weights: configurations, vocabulary, merges.
  std::string configuration_hash() const;

 private:
  std::filesystem::path root_;
  std::string variant_, pipeline_;
  std::map<std::string, std::string> classes_;  // by component
};

class Tokenizer;
/// The tokenizer of a checkpoint: a CLIPTokenizer or a CLIPTokenizerFast.
Tokenizer load_tokenizer(const CheckpointFolder& checkpoint);

/// The weights in a component's folder alone, for programs that load one component: those of the variant or none, as with the original's models.
io::NamedTensors read_weights(const std::filesystem::path& folder, const std::string& stem, const std::string& variant = "");

}  // namespace syncdr::diffusion
