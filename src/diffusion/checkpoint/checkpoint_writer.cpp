#include "syncdr/diffusion/checkpoint_writer.h"

#include <algorithm>
#include <boost/json.hpp>

#include "syncdr/core/error.h"
#include "syncdr/diffusion/scheduler.h"
#include "syncdr/diffusion/tokenizer.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "text/byte_pairs.h"

namespace syncdr::diffusion {
namespace json = boost::json;
namespace fs = std::filesystem;
namespace {

/// "_diffusers_version" of what is written: the release whose layout it is, which readers take for the age of a file.
constexpr const char* diffusers_version = "0.35.2";

/// One value where all levels have the same, which older readers need, else the list.
template <class Value> json::value per_level(const std::vector<Value>& values) {
  json::array list;
  for (const Value value : values) list.emplace_back(value);
  const bool alike = std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) == values.end();
  return alike && !list.empty() ? list.front() : json::value(list);
}

/// A side, a height and a width, or null where the configuration says nothing.
json::value sample_size(int64_t height, int64_t width) {
  if (height == 0 && width == 0) return nullptr;
  return height == width ? json::value(height) : json::value{height, width};
}

/// "torch_dtype" as transformers writes it.
std::string dtype_name(c10::ScalarType dtype) {
  if (dtype == at::kFloat) return "float32";
  if (dtype == at::kHalf) return "float16";
  if (dtype == at::kBFloat16) return "bfloat16";
  throw core::UsageError("checkpoints are written in float32, float16 or bfloat16, not in {}", c10::toString(dtype));
}

void save_component(const fs::path& folder, const std::string& stem, const torch::nn::Module& module, json::object config, c10::ScalarType dtype) {
  dtype_name(dtype);  // throws on others
  io::NamedTensors tensors;
  for (const auto& [name, tensor] : nn::state_of(module)) tensors.emplace(name, tensor.detach().to(at::kCPU, dtype));
  save_weights(folder, stem, tensors, std::move(config));
}

constexpr const char *start_token = "<|startoftext|>", *end_token = "<|endoftext|>";

json::object special_tokens(const std::string& pad) {
  return {{"bos_token", start_token}, {"eos_token", end_token}, {"pad_token", pad}, {"unk_token", end_token}};
}

json::object added_token(const char* text) {
  return {{"content", text}, {"lstrip", false}, {"normalized", false}, {"rstrip", false}, {"single_word", false}, {"special", true}};
}

/// What stands beside vocab.json and merges.txt.
void save_tokenizer_settings(const fs::path& folder, int64_t start, int64_t end, const std::string& pad, int64_t length) {
  json::object config = special_tokens(pad);
  config["added_tokens_decoder"] = {{std::to_string(start), added_token(start_token)}, {std::to_string(end), added_token(end_token)}};
  config["add_prefix_space"] = false;
  config["clean_up_tokenization_spaces"] = false;
  config["do_lower_case"] = true;
  config["errors"] = "replace";
  config["model_max_length"] = length;
  config["tokenizer_class"] = "CLIPTokenizer";
  io::write_json(folder / "special_tokens_map.json", special_tokens(pad));
  io::write_json(folder / "tokenizer_config.json", config);
}

/// scheduler_config.json with Stable Diffusion's betas, keys in alphabetical order.
void save_schedule(const fs::path& folder, json::object fields) {
  fields["_diffusers_version"] = diffusers_version;
  fields["beta_end"] = 0.012;
  fields["beta_schedule"] = "scaled_linear";
  fields["beta_start"] = 0.00085;
  fields["clip_sample"] = false;  // latents are not bounded
  fields["steps_offset"] = 1;     // of leading spacing alone; the original's pipelines want 1
  std::map<std::string, json::value> in_order;
  for (const auto& field : fields) in_order.emplace(field.key(), field.value());
  io::write_json(folder / "scheduler_config.json", json::object(in_order.begin(), in_order.end()));
}

/// A component as model_index.json names it: its library and class.
json::array part(const char* library, const char* name) { return {library, name}; }

}  // namespace

json::object describe(const UNetConfig& config) {
  return {{"_class_name", "UNet2DConditionModel"},
          {"_diffusers_version", diffusers_version},
          {"act_fn", "silu"},
          {"attention_head_dim", per_level(config.heads)},
          {"block_out_channels", json::value_from(config.channels)},
          {"center_input_sample", config.center_input},
          {"cross_attention_dim", config.text_width},
          {"down_block_types", json::value_from(config.down_blocks)},
          {"downsample_padding", config.downsample_padding},
          {"flip_sin_to_cos", config.flip_sin_to_cos},
          {"freq_shift", config.frequency_shift},
          {"in_channels", config.in_channels},
          {"layers_per_block", per_level(config.layers)},
          {"mid_block_scale_factor", config.mid_scale},
          {"mid_block_type", "UNetMidBlock2DCrossAttn"},
          {"norm_eps", config.norm_epsilon},
          {"norm_num_groups", config.norm_groups},
          {"only_cross_attention", per_level(config.only_cross_attention)},
          {"out_channels", config.out_channels},
          {"sample_size", sample_size(config.sample_height, config.sample_width)},
          {"time_cond_proj_dim", config.guidance_width > 0 ? json::value(config.guidance_width) : nullptr},
          {"transformer_layers_per_block", per_level(config.transformer_layers)},
          {"up_block_types", json::value_from(config.up_blocks)},
          {"use_linear_projection", config.linear_projection}};
}

json::object describe(const AutoencoderConfig& config) {
  const size_t levels = config.channels.size();
  if (config.tiny) {
    return {{"_class_name", "AutoencoderTiny"},
            {"_diffusers_version", diffusers_version},
            {"act_fn", "relu"},
            {"block_out_channels", json::value_from(config.channels)},
            {"decoder_block_out_channels", json::value_from(config.channels)},
            {"encoder_block_out_channels", json::value_from(config.channels)},
            {"in_channels", config.in_channels},
            {"latent_channels", config.latent_channels},
            {"num_decoder_blocks", json::value_from(config.tiny->decoder_blocks)},
            {"num_encoder_blocks", json::value_from(config.tiny->encoder_blocks)},
            {"out_channels", config.out_channels},
            {"scaling_factor", config.scaling_factor}};
  }
  return {{"_class_name", "AutoencoderKL"},
          {"_diffusers_version", diffusers_version},
          {"act_fn", "silu"},
          {"block_out_channels", json::value_from(config.channels)},
          {"down_block_types", json::value_from(std::vector<std::string>(levels, "DownEncoderBlock2D"))},
          {"force_upcast", true},
          {"in_channels", config.in_channels},
          {"latent_channels", config.latent_channels},
          {"layers_per_block", config.layers},
          {"mid_block_add_attention", config.mid_attention},
          {"norm_num_groups", config.norm_groups},
          {"out_channels", config.out_channels},
          {"scaling_factor", config.scaling_factor},
          {"up_block_types", json::value_from(std::vector<std::string>(levels, "UpDecoderBlock2D"))},
          {"use_post_quant_conv", config.post_quant_conv},
          {"use_quant_conv", config.quant_conv}};
}

json::object describe(const TextEncoderConfig& config) {
  return {{"architectures", json::array{"CLIPTextModel"}},
          {"attention_dropout", config.attention_dropout},
          {"bos_token_id", 0},
          {"eos_token_id", 2},  // as in Stable Diffusion 1: the pooled output, which nothing here uses, is then that of the largest id, the end's
          {"hidden_act", config.activation},
          {"hidden_size", config.width},
          {"intermediate_size", config.hidden},
          {"layer_norm_eps", config.norm_epsilon},
          {"max_position_embeddings", config.positions},
          {"model_type", "clip_text_model"},
          {"num_attention_heads", config.heads},
          {"num_hidden_layers", config.layers},
          {"pad_token_id", 1},
          {"projection_dim", config.width},
          {"vocab_size", config.vocabulary}};
}

void save_weights(const fs::path& folder, const std::string& stem, const io::NamedTensors& tensors, json::object config) {
  io::write_safetensors(folder / (stem + ".safetensors"), tensors, {{"format", "pt"}});  // without it transformers refuses the file
  io::write_json(folder / "config.json", std::move(config));
}

void save_unet(const fs::path& folder, UNet& unet, c10::ScalarType dtype) {
  save_component(folder, "diffusion_pytorch_model", *unet, describe(unet->config()), dtype);
}

void save_autoencoder(const fs::path& folder, Autoencoder& autoencoder, c10::ScalarType dtype) {
  save_component(folder, "diffusion_pytorch_model", *autoencoder, describe(autoencoder->config()), dtype);
}

void save_text_encoder(const fs::path& folder, TextEncoder& text_encoder, c10::ScalarType dtype) {
  json::object config = describe(text_encoder->config());
  config["torch_dtype"] = dtype_name(dtype);
  save_component(folder, "model", *text_encoder, std::move(config), dtype);
}

void save_byte_tokenizer(const fs::path& folder, int64_t length) {
  if (length < 3 || length > 65536) throw core::UsageError("texts of {} tokens: use 3 to 65536", length);
  json::object vocabulary;
  for (const std::string& token : byte_vocabulary()) vocabulary[token] = vocabulary.size();
  const auto end = int64_t(vocabulary.size()) - 1, start = end - 1;
  io::write_json(folder / "vocab.json", vocabulary);
  io::write_file(folder / "merges.txt", "#version: 0.2\n");
  save_tokenizer_settings(folder, start, end, end_token, length);
}

void save_tokenizer(const fs::path& folder, const fs::path& from, const std::string& pad, int64_t length) {
  for (const char* file : {"vocab.json", "merges.txt"}) io::write_file(folder / file, io::read_file(from / file));
  const Tokenizer tokenizer(from);
  save_tokenizer_settings(folder, tokenizer.start(), tokenizer.end(), pad, length);
}

void save_scheduler(const fs::path& folder, const SchedulerDescription& description) {
  save_schedule(folder, {{"_class_name", "DDIMScheduler"},
                         {"num_train_timesteps", description.train_steps},
                         {"prediction_type", description.prediction},
                         {"rescale_betas_zero_snr", description.zero_terminal_snr},
                         {"set_alpha_to_one", true},  // the last step ends without noise
                         {"timestep_spacing", "trailing"}});
}

void save_published_scheduler(const fs::path& folder, const std::string& name, const std::string& prediction) {
  save_schedule(folder,
                {{"_class_name", name}, {"num_train_timesteps", 1000}, {"prediction_type", prediction}, {"set_alpha_to_one", false}, {"skip_prk_steps", true}});
}

void save_model_index(const fs::path& root, const std::string& pipeline) {
  for (const char* component : {"unet", "vae", "text_encoder", "tokenizer", "scheduler"})
    SYNCDR_ASSERT(fs::is_directory(root / component), "{}: {} is not written yet", root.string(), component);
  const char* autoencoder_class = read_autoencoder_config(root / "vae").tiny ? "AutoencoderTiny" : "AutoencoderKL";
  io::write_json(root / "model_index.json", {{"_class_name", pipeline},
                                             {"_diffusers_version", diffusers_version},
                                             {"feature_extractor", {nullptr, nullptr}},
                                             {"requires_safety_checker", false},
                                             {"safety_checker", {nullptr, nullptr}},
                                             {"scheduler", part("diffusers", scheduler_class(root / "scheduler").c_str())},
                                             {"text_encoder", part("transformers", "CLIPTextModel")},
                                             {"tokenizer", part("transformers", "CLIPTokenizer")},
                                             {"unet", part("diffusers", "UNet2DConditionModel")},
                                             {"vae", part("diffusers", autoencoder_class)}});
}

}  // namespace syncdr::diffusion
