#include "syncdr/diffusion/original_layout.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/cumprod.h>
#include <ATen/ops/linspace.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <regex>

#include "original_names.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {
namespace {

std::string shape_text(at::IntArrayRef sizes) { return fmt::format("[{}]", fmt::join(sizes, ", ")); }

/// The tensors of a file whose names begin alike, by what follows, and which of them were asked for.
class Part {
 public:
  /// flat: the names have lost their dots, as a moving average's have.
  Part(const io::NamedTensors& all, std::string prefix, bool flat, std::string where)
      : all_(all), prefix_(std::move(prefix)), flat_(flat), where_(std::move(where)) {}

  bool has(const std::string& name) const { return all_.contains(full(name)); }

  const at::Tensor& at(const std::string& name) {
    const auto found = all_.find(full(name));
    if (found == all_.end())
      throw core::DataError("{}: lacks \"{}\". The file was cut down, or holds another model: Stable Diffusion 1, 2 and InstructPix2Pix are read", where_,
                            full(name));
    asked_.insert(found->first);
    return found->second;
  }

  int64_t size(const std::string& name, int64_t dim) {
    const at::Tensor& tensor = at(name);
    if (dim >= tensor.dim()) refuse(name, fmt::format("has shape {}", shape_text(tensor.sizes())));
    return tensor.size(dim);
  }

  /// How many of NAME0SUFFIX, NAME1SUFFIX, ... are there.
  int64_t count(const std::string& name, const std::string& suffix) const {
    int64_t found = 0;
    while (has(fmt::format("{}{}{}", name, found, suffix))) ++found;
    return found;
  }

  /// Of a whole name of the file.
  bool owns(const std::string& name) const { return name.starts_with(prefix_); }
  bool asked(const std::string& name) const { return asked_.contains(name); }

  [[noreturn]] void refuse(const std::string& name, const std::string& why) const { throw core::DataError("{}: \"{}\" {}", where_, full(name), why); }
  const std::string& where() const { return where_; }

 private:
  std::string full(std::string name) const {
    if (flat_) std::erase(name, '.');
    return prefix_ + name;
  }

  const io::NamedTensors& all_;
  std::string prefix_;
  bool flat_;
  std::string where_;
  std::set<std::string> asked_;
};

bool any_begins(const io::NamedTensors& tensors, std::string_view prefix) {
  const auto item = tensors.lower_bound(std::string(prefix));
  return item != tensors.end() && item->first.starts_with(prefix);
}

std::vector<int64_t> heads_of_64(const std::vector<int64_t>& channels, const std::string& where) {
  std::vector<int64_t> heads;
  for (const int64_t width : channels) {
    if (width % 64 != 0 || width == 0)
      throw core::DataError("{}: {} channels are no multiple of 64, the size of a head of Stable Diffusion 2's UNet and of CLIP's text models", where, width);
    heads.push_back(width / 64);
  }
  return heads;
}

// ---- what names and shapes say

UNetConfig config_of_unet(Part& part, bool open_clip) {
  UNetConfig config;
  config.in_channels = part.size("input_blocks.0.0.weight", 1);
  config.out_channels = part.size("out.2.weight", 0);
  for (auto* list : {&config.channels, &config.layers, &config.transformer_layers}) list->clear();
  for (auto* list : {&config.down_blocks, &config.up_blocks}) list->clear();
  const auto resnet = [](int64_t block) { return fmt::format("input_blocks.{}.0.in_layers.2.weight", block); };
  for (int64_t block = 1;; ++block) {  // behind each level but the last stands its downsampling
    const int64_t first = block;
    config.channels.push_back(part.size(resnet(first), 0));
    while (part.has(resnet(block))) ++block;
    config.layers.push_back(block - first);
    const int64_t depth = part.count(fmt::format("input_blocks.{}.1.transformer_blocks.", first), ".norm1.weight");
    config.transformer_layers.push_back(std::max<int64_t>(depth, 1));
    config.down_blocks.push_back(depth > 0 ? "CrossAttnDownBlock2D" : "DownBlock2D");
    config.up_blocks.insert(config.up_blocks.begin(), depth > 0 ? "CrossAttnUpBlock2D" : "UpBlock2D");
    if (!part.has(fmt::format("input_blocks.{}.0.op.weight", block))) break;
  }
  const size_t levels = config.channels.size();
  config.transformer_layers.back() = part.count("middle_block.1.transformer_blocks.", ".norm1.weight");
  config.only_cross_attention.assign(levels, false);
  config.text_width = part.size("middle_block.1.transformer_blocks.0.attn2.to_k.weight", 1);
  config.linear_projection = part.at("middle_block.1.proj_in.weight").dim() == 2;
  config.heads = open_clip ? heads_of_64(config.channels, part.where()) : std::vector<int64_t>(levels, 8);
  ConfigReader check(describe(config), part.where() + ": UNet");
  return read_unet_config(check);
}

AutoencoderConfig config_of_autoencoder(Part& part) {
  AutoencoderConfig config;
  config.in_channels = part.size("encoder.conv_in.weight", 1);
  config.out_channels = part.size("decoder.conv_out.weight", 0);
  config.latent_channels = part.size("decoder.conv_in.weight", 1);
  config.channels.clear();
  const auto resnet = [](size_t level) { return fmt::format("encoder.down.{}.block.0.conv1.weight", level); };
  do config.channels.push_back(part.size(resnet(config.channels.size()), 0));
  while (part.has(resnet(config.channels.size())));
  config.layers = part.count("encoder.down.0.block.", ".conv1.weight");
  config.quant_conv = part.has("quant_conv.weight");
  config.post_quant_conv = part.has("post_quant_conv.weight");
  ConfigReader check(describe(config), part.where() + ": autoencoder");
  return read_autoencoder_config(check);
}

constexpr const char* openai_model = "transformer.text_model.";  // some files leave "text_model." out

/// "transformer.text_model." or "transformer.".
std::string openai_prefix(const Part& part) {
  return part.has(fmt::format("{}embeddings.token_embedding.weight", openai_model)) ? openai_model : "transformer.";
}

constexpr int64_t most_rows = int64_t{1} << 20;  // a cap before anything of that size is allocated
/// Layers of OpenCLIP's text model, and those that Stable Diffusion 2 computes: all but the last.
constexpr int64_t open_clip_layers = 24, open_clip_used = open_clip_layers - 1;

TextEncoderConfig config_of_text_encoder(Part& part, bool open_clip) {
  const std::string openai = openai_prefix(part);
  const std::string tokens = open_clip ? "model.token_embedding.weight" : openai + "embeddings.token_embedding.weight";
  const std::string layers = open_clip ? "model.transformer.resblocks." : openai + "encoder.layers.";
  TextEncoderConfig config;
  config.vocabulary = part.size(tokens, 0);
  config.width = part.size(tokens, 1);
  config.positions = part.size(open_clip ? "model.positional_embedding" : openai + "embeddings.position_embedding.weight", 0);
  config.hidden = part.size(layers + (open_clip ? "0.mlp.c_fc.weight" : "0.mlp.fc1.weight"), 0);
  config.layers = part.count(layers, open_clip ? ".ln_1.weight" : ".layer_norm1.weight");
  config.heads = heads_of_64({config.width}, part.where()).front();
  config.activation = open_clip ? "gelu" : "quick_gelu";
  for (const int64_t number : {config.vocabulary, config.positions, config.hidden}) {
    if (number < 1 || number > most_rows) throw core::DataError("{}: its text model has {} rows where 1 to {} are possible", part.where(), number, most_rows);
  }
  if (!open_clip) return config;
  if (config.layers != open_clip_layers && config.layers != open_clip_used)
    throw core::DataError("{}: its text model has {} layers; that of Stable Diffusion 2 has {}, of which it computes {}", part.where(), config.layers,
                          open_clip_layers, open_clip_used);
  config.layers = open_clip_used;
  return config;
}

// ---- the tensors

/// What becomes a tensor of this shape.
at::Tensor fitted(const Part& part, const OpenClipName& source, const at::Tensor& given, at::IntArrayRef wanted) {
  at::Tensor tensor = given;
  if (!tensor.is_floating_point()) part.refuse(source.name, fmt::format("holds {}, no floating point numbers", c10::toString(tensor.scalar_type())));
  if (source.third >= 0 && tensor.dim() > 0 && tensor.size(0) == 3 * wanted[0]) tensor = tensor.narrow(0, source.third * wanted[0], wanted[0]);
  // A 1x1 convolution of pixels is a linear layer.
  if (wanted.size() == 2 && tensor.dim() == 4 && tensor.size(2) == 1 && tensor.size(3) == 1) tensor = tensor.flatten(1);
  if (tensor.sizes() != wanted)
    part.refuse(source.name, fmt::format("has shape {}, where the other tensors want {} of it", shape_text(given.sizes()), shape_text(wanted)));
  return tensor;
}

io::NamedTensors take(Part& part, const torch::nn::Module& module, const std::function<OpenClipName(const std::string&)>& source_of) {
  io::NamedTensors taken;
  for (const auto& [name, wanted] : nn::state_of(module)) {
    const OpenClipName source = source_of(name);
    taken.emplace(name, fitted(part, source, part.at(source.name), wanted.sizes()));
  }
  return taken;
}

io::NamedTensors take_text_encoder(Part& part, const TextEncoderConfig& config, bool open_clip) {
  const TextEncoder module(config);
  if (!open_clip) {
    const std::string prefix = openai_prefix(part);
    return take(part, *module, [&](const std::string& name) { return OpenClipName{prefix + name.substr(std::string_view("text_model.").size())}; });
  }
  return take(part, *module, [](const std::string& name) {
    OpenClipName source = open_clip_name(name);
    source.name = "model." + source.name;
    return source;
  });
}

// ---- the rest

/// What training and other uses leave in a file: not used here. Schedules are compared in check_schedule.
bool is_known_rest(const std::string& name) {
  static const std::regex known(
      R"((model\.diffusion_model|model_ema|first_stage_model\.loss)\..*)"
      R"(|betas|(sqrt_|log_|posterior_).*|alphas_cumprod(_prev)?|logvar|lvlb_weights)"
      R"(|cond_stage_model\.(transformer\.(text_model\.)?embeddings\.position_ids|(model\.|transformer\.)?(logit_scale|text_projection(\.weight)?)|model\.attn_mask))"
      R"(|cond_stage_model\.model\.transformer\.resblocks\.23\..*)");
  return std::regex_match(name, known);
}

/// Of many names that begin alike only their beginning.
std::vector<std::string> grouped(const std::vector<std::string>& names) {
  static const std::regex start(R"((model\.diffusion_model|model_ema|first_stage_model\.loss|cond_stage_model\.model\.transformer\.resblocks\.\d+)\..*)");
  std::map<std::string, int64_t> groups;
  for (const std::string& name : names) {
    std::smatch part;
    ++groups[std::regex_match(name, part, start) ? part[1].str() + "." : name];
  }
  std::vector<std::string> texts;
  for (const auto& [name, count] : groups) texts.push_back(name.ends_with('.') ? fmt::format("{}* ({} tensors)", name, count) : name);
  return texts;
}

/// What nobody asked for is passed over by name, but in the parts themselves only if it is known.
void sort_rest(OriginalCheckpoint& checkpoint, const io::NamedTensors& tensors, std::initializer_list<const Part*> parts, const std::string& where) {
  std::vector<std::string> known, strange;
  for (const auto& [name, tensor] : tensors) {
    const Part* owner = nullptr;
    for (const Part* part : parts) owner = part->owns(name) ? part : owner;
    if (owner && owner->asked(name)) continue;
    const bool rest = is_known_rest(name) && owner != *parts.begin();  // of the UNet that is taken nothing is
    (rest ? known : owner ? strange : checkpoint.unknown).push_back(name);
  }
  checkpoint.passed_over = grouped(known);
  if (!strange.empty())
    throw core::DataError("{}: no Stable Diffusion 1 or 2 has {}: it is another model, which would compute something else here", where,
                          fmt::join(grouped(strange), ", "));
}

/// The noise of another schedule would be sampled wrongly without a word.
void check_schedule(const io::NamedTensors& tensors, const std::string& where) {
  const at::Tensor betas = at::linspace(std::sqrt(0.00085), std::sqrt(0.012), 1000, at::kDouble).pow(2), alphas = at::cumprod(1.0 - betas, 0);
  for (const auto& [name, ours] : {std::pair("betas", betas), std::pair("alphas_cumprod", alphas)}) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) continue;
    const at::Tensor theirs = found->second.to(at::kDouble);
    if (theirs.sizes() != ours.sizes() || !at::allclose(theirs, ours, /*rtol=*/0.01, /*atol=*/1e-5))  // they may be float16
      throw core::DataError(
          "{}: \"{}\" is not Stable Diffusion's schedule of noise (1000 steps, betas from 0.00085 to 0.012), which is the one that is written", where, name);
  }
}

void check_family(const OriginalCheckpoint& checkpoint, const std::string& where) {
  const int64_t in = checkpoint.unet.in_channels, latent = checkpoint.autoencoder.latent_channels;
  if (in != latent && in != 2 * latent)
    throw core::DataError("{}: its UNet has {} input channels for latents of {}{}. Stable Diffusion has {}, InstructPix2Pix {}: no translator reads another",
                          where, in, latent, in == 2 * latent + 1 ? ", as for inpainting" : "", latent, 2 * latent);
  if (checkpoint.unet.out_channels != latent)
    throw core::DataError("{}: its UNet has {} output channels for latents of {}", where, checkpoint.unet.out_channels, latent);
  if (checkpoint.unet.text_width != checkpoint.text_encoder.width)
    throw core::DataError("{}: its UNet reads texts of width {}, its text model makes {}", where, checkpoint.unet.text_width, checkpoint.text_encoder.width);
}

}  // namespace

OriginalCheckpoint read_original(const io::NamedTensors& tensors, bool last_weights, const std::string& where) {
  constexpr const char *plain = "model.diffusion_model.", *average = "model_ema.diffusion_model";
  if (any_begins(tensors, "conditioner.embedders."))
    throw core::DataError("{}: is Stable Diffusion XL or a relative; 1, 2 and InstructPix2Pix are read", where);
  const bool has_average = any_begins(tensors, average), has_plain = any_begins(tensors, plain);
  if (last_weights && has_average && !has_plain) throw core::UsageError("--no-ema: {} holds the average alone", where);
  OriginalCheckpoint checkpoint;
  checkpoint.averaged = has_average && !last_weights;
  checkpoint.open_clip = any_begins(tensors, "cond_stage_model.model.");
  Part unet(tensors, checkpoint.averaged ? average : plain, checkpoint.averaged, where), autoencoder(tensors, "first_stage_model.", false, where),
      text(tensors, "cond_stage_model.", false, where);
  checkpoint.unet = config_of_unet(unet, checkpoint.open_clip);
  checkpoint.autoencoder = config_of_autoencoder(autoencoder);
  checkpoint.text_encoder = config_of_text_encoder(text, checkpoint.open_clip);
  check_family(checkpoint, where);
  check_schedule(tensors, where);
  checkpoint.unet_tensors = take(unet, *UNet(checkpoint.unet), [&](const std::string& name) { return OpenClipName{original_name(checkpoint.unet, name)}; });
  checkpoint.autoencoder_tensors = take(autoencoder, *Autoencoder(checkpoint.autoencoder),
                                        [&](const std::string& name) { return OpenClipName{original_name(checkpoint.autoencoder, name)}; });
  checkpoint.text_encoder_tensors = take_text_encoder(text, checkpoint.text_encoder, checkpoint.open_clip);
  sort_rest(checkpoint, tensors, {&unet, &autoencoder, &text}, where);
  return checkpoint;
}

}  // namespace syncdr::diffusion
