#include "syncdr/core/error.h"
#include "syncdr/diffusion/unet.h"

namespace syncdr::diffusion {
namespace {

void read_sample_size(ConfigReader& reader, UNetConfig& config) {
  const boost::json::value* size = reader.fields().if_contains("sample_size");
  const bool pair = size && size->is_array();
  const std::vector<int64_t> sides = pair ? reader.integers("sample_size", {}) : std::vector<int64_t>(2, reader.integer("sample_size", 0));
  if (sides.size() != 2 || sides[0] < 0 || sides[1] < 0) reader.refuse("sample_size", "is neither a side nor a height and a width");
  config.sample_height = sides[0];
  config.sample_width = sides[1];
}

std::vector<bool> read_flags(ConfigReader& reader, const char* name, size_t levels) {
  const boost::json::value* value = reader.fields().if_contains(name);
  if (!value || !value->is_array()) return std::vector<bool>(levels, reader.boolean(name, false));
  reader.ignore(name);  // read here
  std::vector<bool> flags;
  for (const boost::json::value& item : value->get_array()) {
    if (!item.is_bool()) reader.refuse(name, "is not a list of true and false");
    flags.push_back(item.get_bool());
  }
  if (flags.size() != levels) reader.refuse(name, fmt::format("has {} values for {} levels", flags.size(), levels));
  return flags;
}

void check_block_types(const ConfigReader& reader, const char* name, const std::vector<std::string>& types, const std::string& plain, size_t levels) {
  if (types.size() != levels) reader.refuse(name, fmt::format("has {} blocks for the {} levels of \"block_out_channels\"", types.size(), levels));
  for (const std::string& type : types) {
    if (type != plain && type != "CrossAttn" + plain)
      reader.refuse(name, fmt::format("holds \"{}\"; only \"{}\" and \"CrossAttn{}\" are supported", type, plain, plain));
  }
}

void check_all(const ConfigReader& reader, const char* name, const std::vector<int64_t>& values, int64_t low, int64_t high) {
  for (const int64_t value : values) {
    if (value < low || value > high) reader.refuse(name, fmt::format("holds {}; it must lie between {} and {}", value, low, high));
  }
}

/// What other members of the family have: nothing of it is built here.
void refuse_unsupported(ConfigReader& reader) {
  reader.only("_class_name", "UNet2DConditionModel");
  reader.only("mid_block_type", "UNetMidBlock2DCrossAttn");
  reader.only("attention_type", "default");
  reader.only("time_embedding_type", "positional");
  reader.only("resnet_time_scale_shift", "default");
  reader.only("resnet_out_scale_factor", 1.0);
  reader.only("dropout", 0.0);
  reader.only("conv_in_kernel", 3);
  reader.only("conv_out_kernel", 3);
  for (const char* name : {"dual_cross_attention", "resnet_skip_time_act", "class_embeddings_concat"}) reader.only(name, false);
  for (const char* name : {"num_attention_heads", "reverse_transformer_layers_per_block", "encoder_hid_dim", "encoder_hid_dim_type", "class_embed_type",
                           "addition_embed_type", "addition_time_embed_dim", "num_class_embeds", "time_embedding_dim", "time_embedding_act_fn",
                           "timestep_post_act", "projection_class_embeddings_input_dim", "cross_attention_norm"})
    reader.only(name, nullptr);
  reader.ignore("mid_block_only_cross_attention addition_embed_type_num_heads");  // of another type of middle block, of "addition_embed_type"
  // scaled_dot_product_attention keeps its scores in float32 whatever the dtype, and the original's default processor leaves it at that.
  reader.ignore("upcast_attention");
}

void check_widths(const ConfigReader& reader, const UNetConfig& config) {
  check_all(reader, "block_out_channels", config.channels, 1, 8192);
  if (config.norm_groups < 1) reader.refuse("norm_num_groups", "must be at least 1");
  check_all(reader, "attention_head_dim", config.heads, 1, 8192);
  const size_t levels = config.channels.size();
  for (size_t i = 0; i < levels; ++i) {
    const int64_t channels = config.channels[i];
    if (channels % config.norm_groups != 0)
      reader.refuse("norm_num_groups", fmt::format("is {}, which does not divide the {} channels of level {}", config.norm_groups, channels, i));
    const bool attends = i + 1 == levels || config.attends_down(i) || config.attends_up(i);
    if (attends && channels % config.heads[i] != 0)
      reader.refuse("attention_head_dim",
                    fmt::format("(the number of heads) is {}, which does not divide the {} channels of level {}", config.heads[i], channels, i));
  }
  if (config.channels[0] / 2 <= config.frequency_shift) reader.refuse("freq_shift", "must be less than half the first level's channels");
}

void read_levels(ConfigReader& reader, UNetConfig& config) {
  config.channels = reader.integers("block_out_channels", config.channels);
  const size_t levels = config.channels.size();
  if (levels < 1 || levels > 16) reader.refuse("block_out_channels", "must have 1 to 16 levels");
  config.down_blocks = reader.texts("down_block_types", config.down_blocks);
  config.up_blocks = reader.texts("up_block_types", config.up_blocks);
  check_block_types(reader, "down_block_types", config.down_blocks, "DownBlock2D", levels);
  check_block_types(reader, "up_block_types", config.up_blocks, "UpBlock2D", levels);
  config.layers = reader.per_level("layers_per_block", levels, 2);
  check_all(reader, "layers_per_block", config.layers, 1, 64);
  // Named for its first meaning: in diffusers it has always been the number of heads.
  config.heads = reader.per_level("attention_head_dim", levels, 8);
  config.transformer_layers = reader.per_level("transformer_layers_per_block", levels, 1);
  check_all(reader, "transformer_layers_per_block", config.transformer_layers, 0, 64);
  config.only_cross_attention = read_flags(reader, "only_cross_attention", levels);
  const std::vector<int64_t> text_widths = reader.per_level("cross_attention_dim", levels, config.text_width);
  check_all(reader, "cross_attention_dim", text_widths, 1, 65536);
  if (text_widths != std::vector<int64_t>(levels, text_widths[0])) reader.refuse("cross_attention_dim", "differs between levels, but all read the same text");
  config.text_width = text_widths[0];
}

}  // namespace

UNetConfig read_unet_config(ConfigReader& reader) {
  UNetConfig config;
  for (const char* name : {"norm_num_groups", "cross_attention_dim", "attention_head_dim"}) reader.refuse_null(name);
  refuse_unsupported(reader);
  read_sample_size(reader, config);
  config.in_channels = reader.integer("in_channels", config.in_channels);
  config.out_channels = reader.integer("out_channels", config.out_channels);
  check_all(reader, "in_channels", {config.in_channels}, 1, 8192);
  check_all(reader, "out_channels", {config.out_channels}, 1, 8192);
  read_levels(reader, config);
  config.linear_projection = reader.boolean("use_linear_projection", config.linear_projection);
  config.center_input = reader.boolean("center_input_sample", config.center_input);
  config.flip_sin_to_cos = reader.boolean("flip_sin_to_cos", config.flip_sin_to_cos);
  config.frequency_shift = reader.number("freq_shift", config.frequency_shift);
  config.norm_groups = reader.integer("norm_num_groups", config.norm_groups);
  config.norm_epsilon = reader.number("norm_eps", config.norm_epsilon);
  config.downsample_padding = reader.integer("downsample_padding", config.downsample_padding);
  check_all(reader, "downsample_padding", {config.downsample_padding}, 0, 1);
  config.mid_scale = reader.number("mid_block_scale_factor", config.mid_scale);
  if (!(config.mid_scale > 0)) reader.refuse("mid_block_scale_factor", "must be above 0");
  config.guidance_width = reader.integer("time_cond_proj_dim", 0);
  if (reader.has("time_cond_proj_dim")) check_all(reader, "time_cond_proj_dim", {config.guidance_width}, 4, 8192);
  const std::string activation = reader.text("act_fn", "silu");
  if (activation != "silu" && activation != "swish") reader.only("act_fn", "silu");
  check_widths(reader, config);
  reader.finish();
  return config;
}

}  // namespace syncdr::diffusion
