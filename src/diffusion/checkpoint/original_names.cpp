#include "original_names.h"

#include <fmt/format.h>

#include <regex>
#include <span>
#include <string_view>
#include <utility>

namespace syncdr::diffusion {
namespace {

using Start = std::pair<std::string_view, std::string_view>;  // how a name begins here, and there

std::string renamed(const std::string& name, std::span<const Start> starts) {
  for (const auto& [ours, theirs] : starts) {
    if (name.starts_with(ours)) return std::string(theirs) + name.substr(ours.size());
  }
  return name;
}

constexpr Start unet_outside[] = {{"time_embedding.linear_1.", "time_embed.0."},
                                  {"time_embedding.linear_2.", "time_embed.2."},
                                  {"conv_in.", "input_blocks.0.0."},
                                  {"conv_norm_out.", "out.0."},
                                  {"conv_out.", "out.2."}};
constexpr Start unet_resnet[] = {{"norm1.", "in_layers.0."},  {"conv1.", "in_layers.2."},  {"time_emb_proj.", "emb_layers.1."},
                                 {"norm2.", "out_layers.0."}, {"conv2.", "out_layers.3."}, {"conv_shortcut.", "skip_connection."}};
constexpr Start autoencoder_outside[] = {{"encoder.conv_norm_out.", "encoder.norm_out."}, {"decoder.conv_norm_out.", "decoder.norm_out."}};
constexpr Start autoencoder_resnet[] = {{"conv_shortcut.", "nin_shortcut."}};
constexpr Start autoencoder_attention[] = {{"group_norm.", "norm."}, {"to_q.", "q."}, {"to_k.", "k."}, {"to_v.", "v."}, {"to_out.0.", "proj_out."}};
constexpr Start open_clip_outside[] = {{"text_model.embeddings.token_embedding.", "token_embedding."},
                                       {"text_model.embeddings.position_embedding.weight", "positional_embedding"},
                                       {"text_model.final_layer_norm.", "ln_final."}};
constexpr Start open_clip_layer[] = {
    {"layer_norm1.", "ln_1."}, {"layer_norm2.", "ln_2."}, {"mlp.fc1.", "mlp.c_fc."}, {"mlp.fc2.", "mlp.c_proj."}, {"self_attn.out_proj.", "attn.out_proj."}};

}  // namespace

/// The original counts blocks through all levels: on the way down conv_in, then a level's residual blocks and its downsampling, on the way up the residual
/// blocks, of which a level's last has the upsampling too. Parts of a block are counted: residual block, transformer, upsampling.
std::string original_name(const UNetConfig& config, const std::string& name) {
  static const std::regex of_level(R"((down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*))"), of_middle(R"(mid_block\.(\w+)\.(\d+)\.(.*))");
  std::smatch part;
  if (std::regex_match(name, part, of_middle)) {
    if (part[1] == "attentions") return fmt::format("middle_block.1.{}", part[3].str());
    return fmt::format("middle_block.{}.{}", part[2] == "0" ? 0 : 2, renamed(part[3], unet_resnet));
  }
  if (!std::regex_match(name, part, of_level)) return renamed(name, unet_outside);
  const bool down = part[1] == "down";
  const size_t index = std::stoul(part[2]), levels = config.channels.size();
  const auto level = [&](size_t i) { return down ? i : levels - 1 - i; };
  const std::string kind = part[3], rest = part[5];
  int64_t block = down ? 1 : 0;
  for (size_t i = 0; i < index; ++i) block += config.layers[level(i)] + 1;
  if (kind == "downsamplers") return fmt::format("input_blocks.{}.0.op.{}", block + config.layers[level(index)], rest.substr(rest.find('.') + 1));
  if (kind == "upsamplers") return fmt::format("output_blocks.{}.{}.{}", block + config.layers[level(index)], config.attends_up(level(index)) ? 2 : 1, rest);
  const bool attention = kind == "attentions";
  return fmt::format("{}_blocks.{}.{}.{}", down ? "input" : "output", block + std::stol(part[4]), attention ? 1 : 0,
                     attention ? rest : renamed(rest, unet_resnet));
}

/// The original counts the decoder's levels from the finest, too.
std::string original_name(const AutoencoderConfig& config, const std::string& name) {
  static const std::regex of_level(R"((encoder\.down|decoder\.up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*))"),
      of_middle(R"((encoder|decoder)\.mid_block\.(\w+)\.(\d+)\.(.*))");
  std::smatch part;
  if (std::regex_match(name, part, of_middle)) {
    if (part[2] == "attentions") return fmt::format("{}.mid.attn_1.{}", part[1].str(), renamed(part[4], autoencoder_attention));
    return fmt::format("{}.mid.block_{}.{}", part[1].str(), std::stol(part[3]) + 1, renamed(part[4], autoencoder_resnet));
  }
  if (!std::regex_match(name, part, of_level)) return renamed(name, autoencoder_outside);
  const size_t index = std::stoul(part[2]), level = part[1] == "encoder.down" ? index : config.channels.size() - 1 - index;
  const std::string prefix = fmt::format("{}.{}", part[1].str(), level);
  if (part[3] == "resnets") return fmt::format("{}.block.{}.{}", prefix, part[4].str(), renamed(part[5], autoencoder_resnet));
  return fmt::format("{}.{}.{}", prefix, part[3] == "downsamplers" ? "downsample" : "upsample", part[5].str());
}

OpenClipName open_clip_name(const std::string& name) {
  static const std::regex of_layer(R"(text_model\.encoder\.layers\.(\d+)\.(.*))"), projection(R"(self_attn\.([qkv])_proj\.(\w+))");
  std::smatch part, inner;
  if (!std::regex_match(name, part, of_layer)) return {renamed(name, open_clip_outside)};
  const std::string prefix = fmt::format("transformer.resblocks.{}.", part[1].str()), rest = part[2];
  if (std::regex_match(rest, inner, projection))
    return {fmt::format("{}attn.in_proj_{}", prefix, inner[2].str()), int64_t(std::string_view("qkv").find(inner[1].str()))};
  return {prefix + renamed(rest, open_clip_layer)};
}

}  // namespace syncdr::diffusion
