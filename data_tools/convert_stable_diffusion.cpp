#include <boost/json.hpp>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/diffusion/checkpoint_writer.h"
#include "syncdr/diffusion/original_layout.h"
#include "syncdr/diffusion/tokenizer.h"
#include "syncdr/io/json.h"
#include "weights_in.h"

/// syncdr-data convert --as stable-diffusion: the authors' single file becomes a folder that translators, diffusers and transformers read.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace json = boost::json;
namespace {

void check_usage(const ConvertOptions& options) {
  if (options.tokenizer.empty())
    throw core::UsageError(
        "--as stable-diffusion needs --tokenizer FOLDER, with CLIP's vocab.json and merges.txt: the file holds none. They are in "
        "openai/clip-vit-large-patch14, and in the folder tokenizer of any checkpoint of Stable Diffusion");
  for (const char* file : {"vocab.json", "merges.txt"})
    if (!fs::is_regular_file(options.tokenizer / file))
      throw core::UsageError("--tokenizer {}: has no {}. Take a folder with vocab.json and merges.txt", options.tokenizer.string(), file);
  std::error_code ignored;
  if (fs::exists(options.out) && !(fs::is_directory(options.out) && fs::is_empty(options.out, ignored)))
    throw core::UsageError("--out {}: is there and no empty folder. Name a new one", options.out.string());
}

/// Of OpenCLIP's there are both kinds, and their tensors are alike.
std::string prediction_of(const ConvertOptions& options, const diffusion::OriginalCheckpoint& checkpoint) {
  if (!options.prediction.empty()) return options.prediction;
  if (checkpoint.open_clip)
    throw core::UsageError(
        "{}: is a Stable Diffusion 2, and no tensor tells what its UNet predicts. Add --prediction v_prediction (2 and 2.1 for 768 pixels) or "
        "--prediction epsilon (2-base, 2.1-base and Turbo, for 512)",
        options.in.string());
  return "epsilon";
}

void check_tokenizer(const fs::path& folder, int64_t vocabulary) {
  const diffusion::Tokenizer tokenizer(folder);
  if (tokenizer.size() != vocabulary)
    throw core::DataError("{}: has {} tokens, the text model {}. Take the tokenizer that it was trained with", folder.string(), tokenizer.size(), vocabulary);
}

void check_rest(const diffusion::OriginalCheckpoint& checkpoint, const ConvertOptions& options) {
  if (checkpoint.unknown.empty()) return;
  if (!options.allow_beside)
    throw core::DataError("{}: holds tensors beside Stable Diffusion's: {}. --allow-beside leaves them out", options.in.string(), some(checkpoint.unknown));
  core::warn("{}: left out: {}", options.in.string(), some(checkpoint.unknown));
}

/// Everything but model_index.json, which comes last.
void save_parts(diffusion::OriginalCheckpoint& checkpoint, const ConvertOptions& options, const std::string& prediction) {
  const bool velocity = prediction == "v_prediction";
  checkpoint.unet.sample_height = checkpoint.unet.sample_width = checkpoint.open_clip && velocity ? 96 : 64;
  diffusion::save_weights(options.out / "unet", "diffusion_pytorch_model", checkpoint.unet_tensors, describe(checkpoint.unet));
  diffusion::save_weights(options.out / "vae", "diffusion_pytorch_model", checkpoint.autoencoder_tensors, describe(checkpoint.autoencoder));
  diffusion::save_weights(options.out / "text_encoder", "model", checkpoint.text_encoder_tensors, describe(checkpoint.text_encoder));
  const char *open_clip_pad = "!", *openai_pad = "<|endoftext|>";
  diffusion::save_tokenizer(options.out / "tokenizer", options.tokenizer, checkpoint.open_clip ? open_clip_pad : openai_pad, checkpoint.text_encoder.positions);
  const char* scheduler = checkpoint.instruct() ? "EulerAncestralDiscreteScheduler" : velocity ? "DDIMScheduler" : "PNDMScheduler";
  diffusion::save_published_scheduler(options.out / "scheduler", scheduler, prediction);
}

/// What came in, what was made of it, and what went out.
json::object manifest(const Weights& weights, const diffusion::OriginalCheckpoint& checkpoint, const ConvertOptions& options, const std::string& prediction) {
  json::object out, tokenizer;
  for (const char* file : {"vocab.json", "merges.txt"}) tokenizer[file] = hash_text(options.tokenizer / file);
  for (const auto& entry : fs::recursive_directory_iterator(options.out))
    if (entry.is_regular_file()) out[entry.path().lexically_relative(options.out).string()] = hash_text(entry.path());
  return {{"in", weights.sources},
          {"tokenizer", tokenizer},
          {"unet", checkpoint.averaged ? "moving average" : "last step"},
          {"prediction", prediction},
          {"passed_over", json::value_from(checkpoint.passed_over)},
          {"left_out", json::value_from(checkpoint.unknown)},
          {"out", out}};
}

}  // namespace

void convert_stable_diffusion(const ConvertOptions& options) {
  check_usage(options);
  const Weights weights = read_weights_in(options);
  diffusion::OriginalCheckpoint checkpoint = diffusion::read_original(weights.tensors, options.last_weights, options.in.string());
  const std::string prediction = prediction_of(options, checkpoint);
  check_rest(checkpoint, options);
  check_tokenizer(options.tokenizer, checkpoint.text_encoder.vocabulary);
  if (!checkpoint.passed_over.empty()) core::info("{}: passed over: {}", options.in.string(), some(checkpoint.passed_over));
  save_parts(checkpoint, options, prediction);
  io::write_json(options.out / "conversion.json", manifest(weights, checkpoint, options, prediction));
  diffusion::save_model_index(options.out, checkpoint.instruct() ? "StableDiffusionInstructPix2PixPipeline" : "StableDiffusionPipeline");
  core::info("{}: {}; its UNet is {}, taken to predict {}{}. Hashes: conversion.json", options.out.string(),
             checkpoint.instruct()  ? "InstructPix2Pix"
             : checkpoint.open_clip ? "Stable Diffusion 2"
                                    : "Stable Diffusion 1",
             checkpoint.averaged ? "the moving average of training (model_ema.)" : "that of \"model.diffusion_model.\"", prediction,
             options.prediction.empty() ? "; if it does not, add --prediction v_prediction" : "");
}

}  // namespace syncdr::data_tools
