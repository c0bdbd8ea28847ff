#include "syncdr/diffusion/lora.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <optional>
#include <set>

#include "lora_names.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/core/some_of.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/one_thread.h"

namespace syncdr::diffusion {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char *metadata_key = "lora_adapter_metadata", *peft_file = "adapter_config.json", *peft_start = "base_model.model.";

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }
std::string quoted(const std::string& name) { return '"' + name + '"'; }

/// A layer's tensors; those that a file lacks are undefined.
struct Pair {
  at::Tensor down, up, alpha;
  int64_t rank() const { return down.size(0); }
};
using Pairs = std::map<std::string, Pair>;  // by the layer's name in the file

/// What peft's LoraConfig says of one network's layers. Missing fields have its defaults.
class PeftConfig {
 public:
  /// prefix: "unet." where the fields of several networks stand side by side.
  PeftConfig(const json::object& fields, const std::string& prefix, const std::string& where) : prefix_(prefix), where_(where) {
    rank_ = number(fields, "r", rank_);
    alpha_ = number(fields, "lora_alpha", alpha_);
    rank_pattern_ = pattern(fields, "rank_pattern");
    alpha_pattern_ = pattern(fields, "alpha_pattern");
    root_ = flag(fields, "use_rslora");
    if (flag(fields, "use_dora")) refuse("use_dora", "is true: a DoRA is not read here");
  }

  double alpha(const std::string& layer) const { return of(alpha_pattern_, layer, alpha_); }
  double rank(const std::string& layer) const { return of(rank_pattern_, layer, rank_); }
  /// Whether alpha is divided by the rank's root (rsLoRA, Kalajdzievski, 2023).
  bool root() const { return root_; }

 private:
  using Pattern = std::vector<std::pair<std::string, double>>;  // the first that matches counts

  [[noreturn]] void refuse(const std::string& name, const std::string& why) const { throw core::DataError("{}: \"{}{}\" {}", where_, prefix_, name, why); }

  const json::value* find(const json::object& fields, const char* name) const {
    const json::value* value = fields.if_contains(prefix_ + name);
    return value && !value->is_null() ? value : nullptr;
  }
  double number(const json::object& fields, const char* name, double otherwise) const {
    const json::value* value = find(fields, name);
    return value ? as_number(*value, name) : otherwise;
  }
  double as_number(const json::value& value, const std::string& name) const {
    if (!value.is_number()) refuse(name, "is no number");
    return value.to_number<double>();
  }
  bool flag(const json::object& fields, const char* name) const {
    const json::value* value = find(fields, name);
    if (value && !value->is_bool()) refuse(name, "is neither true nor false");
    return value && value->get_bool();
  }
  Pattern pattern(const json::object& fields, const char* name) const {
    Pattern pattern;
    const json::value* value = find(fields, name);
    if (!value) return pattern;
    if (!value->is_object()) refuse(name, "is no object");
    for (const auto& item : value->get_object()) {
      std::string key(item.key());
      for (size_t at = 0; (at = key.find("\\.", at)) != std::string::npos; ++at) key.erase(at, 1);
      // peft takes them for regular expressions. Those of a stranger can take hours.
      if (key.find_first_of("*+?()[]{}|\\$") != std::string::npos || key.find('^', 1) != std::string::npos)
        refuse(name, fmt::format("has the key \"{}\", which is no layer's name. Write the names of layers", std::string_view(item.key())));
      pattern.emplace_back(key, as_number(item.value(), name));
    }
    return pattern;
  }
  /// As peft matches names: the end of a layer's name, or behind ^ all of it, from which transformers 5 leaves out text_model.
  static double of(const Pattern& pattern, const std::string& layer, double otherwise) {
    for (const auto& [key, value] : pattern) {
      const std::string name = key.starts_with('^') ? key.substr(1) : key;
      const bool whole = layer == name || layer == "text_model." + name;
      if (whole || (!key.starts_with('^') && layer.ends_with('.' + name))) return value;
    }
    return otherwise;
  }

  std::string prefix_, where_;
  double rank_ = 8, alpha_ = 8;
  Pattern rank_pattern_, alpha_pattern_;
  bool root_ = false;
};

/// A file's content, its tensors with or without values.
struct LoraContent {
  std::string where;
  Pairs pairs;
  std::string said_in;  ///< where the two below were read, for errors
  std::string said_by;  ///< the same in short
  std::optional<PeftConfig> of_unet, of_text_encoder;
};

/// What the fields say of one network, if they say anything.
std::optional<PeftConfig> config_of(const json::object& fields, const std::string& network, const std::string& where) {
  bool several = false, of_this = false;
  for (const auto& field : fields) {
    const std::string name(field.key());
    several = several || name.starts_with("unet.") || name.starts_with("text_encoder.");
    of_this = of_this || name.starts_with(network);
  }
  if (several && !of_this) return std::nullopt;
  return PeftConfig(fields, several ? network : "", where);
}

void read_config(LoraContent& content, const json::value& said, const std::string& where, const char* name) {
  const json::object& fields = io::as_object(said, where);
  content.said_in = where;
  content.said_by = name;
  content.of_unet = config_of(fields, "unet.", where);
  content.of_text_encoder = config_of(fields, "text_encoder.", where);
}

[[noreturn]] void refuse_strays(const std::string& where, const std::vector<std::string>& strays) {
  std::vector<std::string> names;
  for (const std::string& stray : strays) names.push_back(quoted(stray));
  const std::string relative = lora_relative(strays);
  throw core::DataError(
      "{}: {} {} nothing here{}. What is read are pairs lora_A and lora_B (or down and up) of linear layers and convolutions of the checkpoint's UNet and text "
      "encoder, with an alpha or without",
      where, core::some_of(names), strays.size() == 1 ? "fits" : "fit", relative.empty() ? "" : ": the file is " + relative);
}

/// Tensors of a layer, which must be a whole pair of one rank.
void check_pair(const std::string& where, const std::string& layer, const Pair& pair) {
  if (!pair.down.defined() || !pair.up.defined()) {
    const char* there = pair.down.defined() ? "lora_A (down) alone" : pair.up.defined() ? "lora_B (up) alone" : "an alpha alone";
    throw core::DataError("{}: \"{}\" has {}: the file was cut short, or its names were changed. Get it again", where, layer, there);
  }
  const auto fits = [](const at::Tensor& tensor) { return tensor.is_floating_point() && (tensor.dim() == 2 || tensor.dim() == 4); };
  const bool ranks_agree = fits(pair.down) && fits(pair.up) && pair.rank() > 0 && pair.up.size(1) == pair.rank();
  const bool up_is_1x1 = ranks_agree && pair.up.numel() == pair.up.size(0) * pair.rank();
  if (!up_is_1x1)
    throw core::DataError(
        "{}: \"{}\" has lora_A (down) {} {} and lora_B (up) {} {}: they must be floating point numbers [rank, in] and [out, rank] of a "
        "layer, or [rank, in, h, w] and [out, rank, 1, 1] of a convolution, with a rank of at least 1. Use another file",
        where, layer, c10::toString(pair.down.scalar_type()), shape_text(pair.down.sizes()), c10::toString(pair.up.scalar_type()), shape_text(pair.up.sizes()));
  if (pair.alpha.defined() && (pair.alpha.numel() != 1 || pair.alpha.scalar_type() == at::kBool))
    throw core::DataError("{}: \"{}.alpha\" is {}, not one number", where, layer, shape_text(pair.alpha.sizes()));
}

/// Throws DataError on what is not there, and on folders, which hold such a file.
void check_there(const fs::path& file) {
  if (fs::is_directory(file))
    throw core::DataError("{}: is a folder. Name the file in it, as pytorch_lora_weights.safetensors or adapter_model.safetensors", file.string());
  if (!fs::exists(file)) throw core::DataError("{}: there is no such LoRA file (translate.diffusion.lora)", file.string());
}

/// The file of peft that says what its other one does not.
std::optional<fs::path> config_beside(const fs::path& file, const Pairs& pairs) {
  const fs::path config = file.parent_path() / peft_file;
  const bool of_peft = !pairs.empty() && pairs.begin()->first.starts_with(peft_start);
  return of_peft && fs::exists(config) ? std::optional(config) : std::nullopt;
}

LoraContent content_of(const fs::path& file, const io::Safetensors& read, const LoraTargets* targets) {
  LoraContent content{.where = file.string()};
  std::vector<std::string> strays(read.unread.begin(), read.unread.end());
  for (const auto& [name, tensor] : read.tensors) {
    const std::optional<LoraName> parsed = lora_name(name);
    if (!parsed || (targets && !targets->find(parsed->layer))) {
      strays.push_back(name);
      continue;
    }
    Pair& pair = content.pairs[parsed->layer];
    at::Tensor& place = parsed->part == LoraPart::down ? pair.down : parsed->part == LoraPart::up ? pair.up : pair.alpha;
    if (place.defined())
      throw core::DataError("{}: \"{}\" is there twice, the second time as \"{}\". Use a file of one adapter", content.where, parsed->layer, name);
    place = tensor;
  }
  if (!strays.empty()) refuse_strays(content.where, strays);
  if (content.pairs.empty()) throw core::DataError("{}: is empty. Use another file", content.where);
  for (const auto& [layer, pair] : content.pairs) check_pair(content.where, layer, pair);

  if (const auto said = read.metadata.find(metadata_key); said != read.metadata.end() && !said->second.empty()) {
    const std::string where = fmt::format("{}: {}", content.where, metadata_key);
    read_config(content, io::parse_json(said->second, where), where, metadata_key);
  } else if (const auto config = config_beside(file, content.pairs)) {
    read_config(content, io::read_json(*config), config->string(), peft_file);
  }
  return content;
}

/// Sides of 1 at the end of a convolution's shape do not count: a 1x1 convolution is a linear layer.
std::vector<int64_t> without_1x1(at::IntArrayRef shape) {
  std::vector<int64_t> sides = shape.vec();
  if (sides.size() == 4 && sides[2] == 1 && sides[3] == 1) sides.resize(2);
  return sides;
}

void check_shape(const LoraContent& content, const std::string& layer, const Pair& pair, at::IntArrayRef weight) {
  std::vector<int64_t> sum = pair.down.sizes().vec();
  sum[0] = pair.up.size(0);
  if (without_1x1(sum) != without_1x1(weight))
    throw core::DataError(
        "{}: \"{}\" adds {} to a weight of {}. The file is for another model: use a checkpoint of the kind that it was made for, as Stable "
        "Diffusion 1.5 or 2.1",
        content.where, layer, shape_text(sum), shape_text(weight));
}

/// [n, m] of a tensor with or without values.
at::Tensor finite_matrix(const LoraContent& content, const std::string& layer, const at::Tensor& tensor) {
  if (!tensor.is_meta() && !tensor.isfinite().all().item<bool>())
    throw core::DataError("{}: \"{}\" holds NaN or infinity: its training had failed. Use another file", content.where, layer);
  return tensor.flatten(1);
}

/// Where a file's alphas were found, for the log.
struct AlphaTally {
  int64_t own = 0, said = 0, not_said = 0;
  std::map<bool, std::set<std::optional<double>>> values;  ///< of the text encoder or not; tensors alone, none where a layer lacks its own

  /// Whether diffusers takes other alphas: it has one for all attention layers of a network, that of the most tensors.
  bool differ() const {
    return own > 0 && std::any_of(values.begin(), values.end(), [](const auto& network) { return network.second.size() > 1; });
  }
  std::string text(const LoraContent& content) const {
    std::vector<std::string> parts;
    if (own > 0) parts.push_back(fmt::format("its own tensor for {} layers", own));
    if (said > 0) parts.push_back(fmt::format("by {} for {} layers", content.said_by, said));
    if (not_said > 0) parts.push_back(fmt::format("not said, so the rank, for {} layers", not_said));
    return fmt::format("{}", fmt::join(parts, "; "));
  }
};

/// An alpha over its rank.
double factor_of(const LoraContent& content, const std::string& layer, const Pair& pair, const LoraTargets::Target& target, AlphaTally& tally) {
  const std::optional<PeftConfig>& config = target.of_text ? content.of_text_encoder : content.of_unet;
  const auto rank = static_cast<double>(pair.rank());
  if (config && config->rank(target.layer) != rank)
    throw core::DataError("{}: gives \"{}\" the rank {}, its tensors have {}: these belong to another file", content.said_in, layer, config->rank(target.layer),
                          rank);
  double alpha = config ? config->alpha(target.layer) : rank;
  std::optional<double> own;
  if (pair.alpha.defined()) own = alpha = pair.alpha.is_meta() ? rank : pair.alpha.item<double>();
  if (!std::isfinite(alpha)) throw core::DataError("{}: the alpha of \"{}\" is {}. Use another file", content.where, layer, alpha);
  ++(own ? tally.own : config ? tally.said : tally.not_said);
  tally.values[target.of_text].insert(own);
  return alpha / (config && config->root() ? std::sqrt(rank) : rank);
}

/// One file's additions. Tensors may be without values, and then those of the sums are.
AlphaTally add_file(LoraSums& sums, const LoraContent& content, double scale, const LoraTargets& targets) {
  AlphaTally tally;
  std::set<std::pair<bool, std::string>> seen;
  for (const auto& [layer, pair] : content.pairs) {
    const LoraTargets::Target& target = *targets.find(layer);
    if (!seen.emplace(target.of_text, target.layer).second)
      throw core::DataError("{}: adds to \"{}\" twice, the second time as \"{}\". Use a file with one addition to a layer", content.where, target.layer, layer);
    check_shape(content, layer, pair, target.shape);
    const double factor = factor_of(content, layer, pair, target, tally);
    LowRankSums& network = target.of_text ? sums.text_encoder : sums.unet;
    network[target.layer + ".weight"].push_back(
        {.down = finite_matrix(content, layer, pair.down), .up = finite_matrix(content, layer, pair.up), .factor = scale * factor});
  }
  return tally;
}

void say(const LoraContent& content, double scale, const LoraTargets& targets, const AlphaTally& tally) {
  std::set<int64_t> ranks;
  int64_t of_text = 0;
  for (const auto& [layer, pair] : content.pairs) {
    ranks.insert(pair.rank());
    of_text += targets.find(layer)->of_text;
  }
  core::info("{}: a LoRA for layers of the UNet ({}) and the text encoder ({}), rank {}, scale {}; alpha: {}", content.where,
             std::ssize(content.pairs) - of_text, of_text, fmt::join(ranks, ", "), scale, tally.text(content));
  if (tally.differ())
    core::info("{}: its layers have different alphas. Each has its own here; diffusers gives all attention layers the one that occurs most", content.where);
}

LoraTargets targets_of(const CheckpointFolder& checkpoint) {
  const fs::path text_encoder = checkpoint.component("text_encoder", "CLIPTextModel") / "config.json";
  return LoraTargets(read_unet_config(checkpoint), read_text_encoder_config(text_encoder));
}

}  // namespace

LoraSums read_lora(const std::vector<LoraFile>& files, const CheckpointFolder& checkpoint) {
  LoraSums sums;
  if (files.empty()) return sums;
  const LoraTargets targets = targets_of(checkpoint);
  for (const LoraFile& lora : files) {
    check_there(lora.file);
    const LoraContent content = content_of(lora.file, io::read_safetensors(lora.file), &targets);
    say(content, lora.scale, targets, add_file(sums, content, lora.scale, targets));
  }
  return sums;
}

void check_lora(const std::vector<LoraFile>& files, const CheckpointFolder* checkpoint) {
  if (files.empty()) return;
  const std::optional<LoraTargets> targets = checkpoint ? std::optional(targets_of(*checkpoint)) : std::nullopt;
  for (const LoraFile& lora : files) {
    check_there(lora.file);
    const LoraContent content = content_of(lora.file, io::read_safetensors_header(lora.file), targets ? &*targets : nullptr);
    LoraSums without_values;
    if (targets) add_file(without_values, content, lora.scale, *targets);
  }
}

void add_lora(io::NamedTensors& weights, LowRankSums sums, c10::ScalarType dtype) {
  std::vector<std::pair<at::Tensor*, const std::vector<LowRank>*>> changed;
  for (const auto& [name, additions] : sums) {
    const auto found = weights.find(name);
    const int64_t size = additions[0].up.size(0) * additions[0].down.size(1);
    const bool fits = found != weights.end() && found->second.is_floating_point() && found->second.dim() > 1 && found->second.numel() == size &&
                      found->second.size(0) == additions[0].up.size(0);
    if (fits) changed.emplace_back(&found->second, &additions);  // whoever takes the weights names those that are missing or have another shape
  }
  nn::each_in_one_thread(std::ssize(changed), [&](int64_t i) {
    const auto& [weight, additions] = changed[static_cast<size_t>(i)];
    // In the weight's own memory where it fits, some rows at a time: sums of whole weights, which go at once, would leave holes among what stays.
    constexpr int64_t at_once = 128;
    const at::Tensor into =
        weight->dtype().itemsize() == c10::elementSize(dtype) ? weight->view(dtype) : at::empty(weight->sizes(), weight->options().dtype(dtype));
    const at::Tensor before = weight->view({weight->size(0), -1}), after = into.view(before.sizes());
    for (int64_t first = 0; first < before.size(0); first += at_once) {
      const int64_t rows = std::min(at_once, before.size(0) - first);
      at::Tensor sum = before.narrow(0, first, rows).to(at::kFloat);  // the weight's own rows where the file has float32
      for (const LowRank& one : *additions) sum.addmm_(one.up.narrow(0, first, rows).to(at::kFloat), one.down.to(at::kFloat), /*beta=*/1, one.factor);
      after.narrow(0, first, rows).copy_(sum);
    }
    *weight = into;
  });
}

std::string provenance_of(const LoraFile& lora) {
  std::string hash = io::hash_file(lora.file);
  if (const fs::path config = lora.file.parent_path() / peft_file; fs::exists(config)) hash = io::hash128(hash + io::hash_file(config));
  return fmt::format("{} at {} ({})", lora.file.filename().string(), lora.scale, hash);
}

void save_lora(const fs::path& file, const io::NamedTensors& unet, int64_t rank) {
  io::NamedTensors tensors;
  for (const auto& [name, tensor] : unet) tensors.emplace("unet." + name, tensor);
  // What diffusers makes peft's LoraConfig of.
  const json::object config{{"unet.r", rank},
                            {"unet.lora_alpha", rank},
                            {"unet.target_modules", {"to_q", "to_k", "to_v", "to_out.0"}},
                            {"unet.rank_pattern", json::object()},
                            {"unet.alpha_pattern", json::object()},
                            {"unet.use_rslora", false},
                            {"unet.use_dora", false}};
  io::write_safetensors(file, tensors, {{"format", "pt"}, {metadata_key, json::serialize(config)}});
}

}  // namespace syncdr::diffusion
