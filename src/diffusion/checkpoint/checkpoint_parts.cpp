#include <boost/json.hpp>

#include "checkpoint_version.h"
#include "syncdr/core/error.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/diffusion/scheduler.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"
#include "text/byte_pairs.h"

/// What a checkpoint folder holds besides networks.
namespace syncdr::diffusion {
namespace json = boost::json;
namespace fs = std::filesystem;
namespace {

constexpr const char *start_token = "<|startoftext|>", *end_token = "<|endoftext|>";

json::object special_tokens() { return {{"bos_token", start_token}, {"eos_token", end_token}, {"pad_token", end_token}, {"unk_token", end_token}}; }

json::object added_token(const char* text) {
  return {{"content", text}, {"lstrip", false}, {"normalized", false}, {"rstrip", false}, {"single_word", false}, {"special", true}};
}

/// A component as model_index.json names it: its library and class.
json::array part(const char* library, const char* name) { return {library, name}; }

}  // namespace

void save_byte_tokenizer(const fs::path& folder, int64_t length) {
  if (length < 3 || length > 65536) throw core::UsageError("texts of {} tokens: use 3 to 65536", length);
  json::object vocabulary;
  for (const char* ending : {"", "</w>"}) {
    for (const std::string& letter : byte_letters()) vocabulary[letter + ending] = vocabulary.size();
  }
  const auto start = int64_t(vocabulary.size()), end = start + 1;
  vocabulary[start_token] = start;
  vocabulary[end_token] = end;
  json::object config = special_tokens();
  config["added_tokens_decoder"] = {{std::to_string(start), added_token(start_token)}, {std::to_string(end), added_token(end_token)}};
  config["add_prefix_space"] = false;
  config["clean_up_tokenization_spaces"] = false;
  config["do_lower_case"] = true;
  config["errors"] = "replace";
  config["model_max_length"] = length;
  config["tokenizer_class"] = "CLIPTokenizer";
  io::write_json(folder / "vocab.json", vocabulary);
  io::write_file(folder / "merges.txt", "#version: 0.2\n");
  io::write_json(folder / "special_tokens_map.json", special_tokens());
  io::write_json(folder / "tokenizer_config.json", config);
}

void save_scheduler(const fs::path& folder, const SchedulerDescription& description) {
  io::write_json(folder / "scheduler_config.json", {{"_class_name", "DDIMScheduler"},
                                                    {"_diffusers_version", diffusers_version},
                                                    {"beta_end", description.beta_end},
                                                    {"beta_schedule", description.beta_schedule},
                                                    {"beta_start", description.beta_start},
                                                    {"clip_sample", false},  // latents are not bounded
                                                    {"num_train_timesteps", description.train_steps},
                                                    {"prediction_type", description.prediction},
                                                    {"rescale_betas_zero_snr", description.zero_terminal_snr},
                                                    {"set_alpha_to_one", true},  // the last step ends without noise
                                                    {"steps_offset", 1},           // of leading spacing alone; the original's pipelines want 1
                                                    {"timestep_spacing", description.spacing}});
}

void save_model_index(const fs::path& root, const std::string& pipeline) {
  for (const char* component : {"unet", "vae", "text_encoder", "tokenizer", "scheduler"})
    SYNCDR_ASSERT(fs::is_directory(root / component), "{}: {} is not written yet", root.string(), component);
  io::write_json(root / "model_index.json", {{"_class_name", pipeline},
                                             {"_diffusers_version", diffusers_version},
                                             {"feature_extractor", {nullptr, nullptr}},
                                             {"requires_safety_checker", false},
                                             {"safety_checker", {nullptr, nullptr}},
                                             {"scheduler", part("diffusers", scheduler_class(root / "scheduler").c_str())},
                                             {"text_encoder", part("transformers", "CLIPTextModel")},
                                             {"tokenizer", part("transformers", "CLIPTokenizer")},
                                             {"unet", part("diffusers", "UNet2DConditionModel")},
                                             {"vae", part("diffusers", "AutoencoderKL")}});
}

}  // namespace syncdr::diffusion
