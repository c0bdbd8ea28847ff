#include "syncdr/diffusion/unet.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>

#include <cmath>
#include <initializer_list>

#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"
#include "unet_blocks.h"

namespace syncdr::diffusion {
namespace {

std::string shape_of(const at::Tensor& tensor) { return fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")); }

bool has_attention(const std::string& block_type) { return block_type.starts_with("CrossAttn"); }

int64_t time_width(const UNetConfig& config) { return 4 * config.channels.front(); }

/// What the blocks of level i have in common, with as many residual blocks as `layers` says.
LevelConfig level_of(const UNetConfig& config, size_t i, int64_t layers, bool attention, bool only_cross) {
  LevelConfig level{.layers = layers, .resample = i + 1 < config.channels.size()};
  level.resnet = {.groups = config.norm_groups, .epsilon = config.norm_epsilon, .time_width = time_width(config)};
  if (!attention) return level;
  level.attention = TransformerConfig{.channels = config.channels[i],
                                      .heads = config.heads[i],
                                      .layers = config.transformer_layers[i],
                                      .text_width = config.text_width,
                                      .groups = config.norm_groups,
                                      .linear_projection = config.linear_projection,
                                      .only_cross = only_cross};
  return level;
}

/// Sines and cosines of the timesteps at falling frequencies (Ho et al., 2020): [N] -> [N, width].
at::Tensor sinusoids(const at::Tensor& timesteps, int64_t width, const UNetConfig& config) {
  const int64_t half = width / 2;
  const at::Tensor exponent = at::arange(half, timesteps.options()) * -std::log(10000.0) / (half - config.frequency_shift);
  const at::Tensor angle = timesteps.unsqueeze(1) * at::exp(exponent);
  const at::Tensor both =
      config.flip_sin_to_cos ? at::cat({at::cos(angle), at::sin(angle)}, 1) : at::cat({at::sin(angle), at::cos(angle)}, 1);
  return width % 2 == 0 ? both : at::constant_pad_nd(both, {0, 1});
}

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

void check_block_types(const ConfigReader& reader, const char* name, const std::vector<std::string>& types, const std::string& plain,
                       size_t levels) {
  if (types.size() != levels)
    reader.refuse(name, fmt::format("has {} blocks for the {} levels of \"block_out_channels\"", types.size(), levels));
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

/// Fields where null does not mean the default but another network.
void refuse_null(const ConfigReader& reader, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (reader.fields().contains(name) && !reader.has(name)) reader.refuse(name, "is null, which is not supported");
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
  for (const char* name :
       {"num_attention_heads", "reverse_transformer_layers_per_block", "encoder_hid_dim", "encoder_hid_dim_type", "class_embed_type",
        "addition_embed_type", "addition_time_embed_dim", "num_class_embeds", "time_embedding_dim", "time_embedding_act_fn",
        "timestep_post_act", "time_cond_proj_dim", "projection_class_embeddings_input_dim", "cross_attention_norm"})
    reader.only(name, nullptr);
  reader.ignore("mid_block_only_cross_attention");  // of another type of middle block
  reader.ignore("addition_embed_type_num_heads");   // of "addition_embed_type"
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
      reader.refuse("norm_num_groups",
                    fmt::format("is {}, which does not divide the {} channels of level {}", config.norm_groups, channels, i));
    const bool attends = i + 1 == levels || has_attention(config.down_blocks[i]) || has_attention(config.up_blocks[levels - 1 - i]);
    if (attends && channels % config.heads[i] != 0)
      reader.refuse("attention_head_dim", fmt::format("(the number of heads) is {}, which does not divide the {} channels of level {}",
                                                      config.heads[i], channels, i));
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
  if (text_widths != std::vector<int64_t>(levels, text_widths[0]))
    reader.refuse("cross_attention_dim", "differs between levels, but all read the same text");
  config.text_width = text_widths[0];
}

UNet build(const std::filesystem::path& folder, const io::NamedTensors& weights) {
  ConfigReader reader(folder / "config.json");
  UNet unet(read_unet_config(reader));
  nn::load_state(*unet, weights, folder.string());
  nn::make_channels_last(*unet);
  unet->eval();
  return unet;
}

}  // namespace

UNetConfig read_unet_config(ConfigReader& reader) {
  UNetConfig config;
  refuse_null(reader, {"norm_num_groups", "cross_attention_dim", "attention_head_dim"});
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
  const std::string activation = reader.text("act_fn", "silu");
  if (activation != "silu" && activation != "swish")
    reader.refuse("act_fn", fmt::format("is \"{}\"; only \"silu\" is supported", activation));
  check_widths(reader, config);
  reader.finish();
  return config;
}

UNetImpl::UNetImpl(const UNetConfig& config) : config_(config) {
  const int64_t width = time_width(config);
  conv_in_ = register_module("conv_in", std::make_shared<Conv3x3Impl>(config.in_channels, config.channels.front()));
  const auto time = register_module("time_embedding", std::make_shared<torch::nn::Module>());
  time_first_ = time->register_module("linear_1", std::make_shared<DenseImpl>(config.channels.front(), width));
  time_second_ = time->register_module("linear_2", std::make_shared<DenseImpl>(width, width));
  add_down_blocks();
  // The middle never has only cross-attention, as in the original.
  LevelConfig middle = level_of(config, config.channels.size() - 1, 1, true, false);
  middle.resnet.in = config.channels.back();
  middle.resnet.output_scale = config.mid_scale;
  mid_ = register_module("mid_block", std::make_shared<MidBlockImpl>(middle));
  add_up_blocks();
  norm_out_ = register_module("conv_norm_out", group_norm(config.norm_groups, config.channels.front(), config.norm_epsilon));
  conv_out_ = register_module("conv_out", std::make_shared<Conv3x3Impl>(config.channels.front(), config.out_channels));
  number_attentions();
}

void UNetImpl::add_down_blocks() {
  int64_t in = config_.channels.front();
  for (size_t i = 0; i < config_.channels.size(); ++i) {
    const LevelConfig level =
        level_of(config_, i, config_.layers[i], has_attention(config_.down_blocks[i]), config_.only_cross_attention[i]);
    down_.push_back(std::make_shared<DownBlockImpl>(level, in, config_.channels[i], config_.downsample_padding));
    in = config_.channels[i];
  }
  register_list(*this, "down_blocks", down_);
}

void UNetImpl::add_up_blocks() {
  int64_t in = config_.channels.back();
  const size_t levels = config_.channels.size();
  for (size_t i = levels; i-- > 0;) {
    LevelConfig level =
        level_of(config_, i, config_.layers[i] + 1, has_attention(config_.up_blocks[levels - 1 - i]), config_.only_cross_attention[i]);
    level.resample = i > 0;
    up_.push_back(std::make_shared<UpBlockImpl>(level, in, config_.channels[i], config_.channels[i > 0 ? i - 1 : 0]));
    in = config_.channels[i];
  }
  register_list(*this, "up_blocks", up_);
}

void UNetImpl::number_attentions() {
  for (const auto& module : modules(/*include_self=*/false)) {
    AttentionImpl* attention = module->as<AttentionImpl>();
    if (!attention || !attention->reads_text()) continue;
    attention->set_place(text_attentions_.size());
    text_attentions_.push_back(attention);
  }
}

void UNetImpl::check(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text) const {
  if (sample.dim() != 4 || sample.size(1) != config_.in_channels)
    throw core::UsageError("the UNet needs samples [B, {}, H, W], got {}", config_.in_channels, shape_of(sample));
  const int64_t batch = sample.size(0);
  if (timesteps.dim() > 1 || (timesteps.numel() != 1 && timesteps.numel() != batch))
    throw core::UsageError("the UNet needs one timestep, or one for each of {} samples, got {}", batch, shape_of(timesteps));
  if (text.text.dim() != 3 || text.text.size(2) != config_.text_width || (text.text.size(0) != 1 && text.text.size(0) != batch))
    throw core::UsageError("the UNet needs text [B, L, {}] with B = 1 or {}, got {}", config_.text_width, batch, shape_of(text.text));
  if (!text.prepared.empty() && text.prepared.size() != text_attentions_.size())
    throw core::UsageError("the text was prepared by another UNet: it has keys for {} attentions, here are {}", text.prepared.size(),
                           text_attentions_.size());
}

TextContext UNetImpl::prepare(const at::Tensor& text) {
  if (text.dim() != 3 || text.size(2) != config_.text_width)
    throw core::UsageError("the UNet needs text [B, L, {}], got {}", config_.text_width, shape_of(text));
  TextContext context(text);
  for (AttentionImpl* attention : text_attentions_) context.prepared.push_back(attention->keys_of(text));
  return context;
}

at::Tensor UNetImpl::embed_time(const at::Tensor& timesteps, const at::Tensor& sample) {
  const at::Tensor times = timesteps.to(at::TensorOptions().device(sample.device()).dtype(at::kFloat)).reshape({-1});
  const at::Tensor waves = sinusoids(times, config_.channels.front(), config_).to(sample.scalar_type());
  return at::silu(time_second_->forward(at::silu(time_first_->forward(waves))));
}

at::Tensor UNetImpl::forward(const at::Tensor& sample, double timestep, const TextContext& text) {
  return forward(sample, at::full({1}, timestep, sample.options().dtype(at::kFloat)), text);
}

at::Tensor UNetImpl::forward(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text) {
  check(sample, timesteps, text);
  const at::Tensor time = embed_time(timesteps, sample);
  const at::Tensor centered = config_.center_input ? 2 * sample - 1 : sample;
  at::Tensor x = conv_in_->forward(centered.contiguous(at::MemoryFormat::ChannelsLast));
  std::vector<at::Tensor> skips{x};
  for (const auto& block : down_) x = block->forward(x, time, text, skips);
  x = mid_->forward(x, time, text);
  for (const auto& block : up_) x = block->forward(x, time, text, skips);
  return conv_out_->forward(norm_silu(norm_out_, x));
}

UNet load_unet(const CheckpointFolder& checkpoint, const std::string& component) {
  return build(checkpoint.component(component, "UNet2DConditionModel"), checkpoint.weights(component, "diffusion_pytorch_model"));
}

UNet load_unet(const std::filesystem::path& folder, const std::string& variant) {
  return build(folder, read_weights(folder, "diffusion_pytorch_model", variant));
}

}  // namespace syncdr::diffusion
