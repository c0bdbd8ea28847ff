#include <algorithm>
#include <boost/json.hpp>

#include "commands.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"
#include "weights_in.h"

/// syncdr-data convert: weights of PyTorch's pickle formats as safetensors. The pickle is read, never run.
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

/// One hash of all names and bytes: of lines "NAME HASH".
std::string hash_of(const io::NamedTensors& tensors) {
  std::string lines;
  for (const auto& [name, tensor] : tensors) lines += name + " " + io::hash128({static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}) + "\n";
  return "xxh128:" + io::hash128(lines);
}

/// Names become JSON, which is UTF-8; a pickle may hold anything.
void check_names(const io::NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) io::parse_json(boost::json::serialize(boost::json::string(name)), "a tensor's name");
}

/// The tensors as they are, in one file.
void convert_to_file(const ConvertOptions& options) {
  if (options.out.extension() != ".safetensors")
    throw core::UsageError("--out {}: the name must end in .safetensors. A folder comes of --as stable-diffusion", options.out.string());
  Weights weights = read_weights_in(options);
  if (std::ranges::any_of(weights.tensors, [](const auto& item) { return item.first.starts_with("model.diffusion_model."); }))
    core::info("{}: looks like Stable Diffusion in its authors' layout; --as stable-diffusion makes a checkpoint folder of it", options.in.string());
  if (options.as == "elite") check_elite(weights, options.in);
  if (options.as == "cut") check_cut(weights, options.in);
  check_names(weights.tensors);
  if (!weights.key.empty()) weights.metadata["syncdr.key"] = weights.key;
  weights.metadata["format"] = "pt";  // transformers and others ask for it
  weights.metadata["syncdr.sources"] = boost::json::serialize(weights.sources);
  weights.metadata["syncdr.tensors"] = hash_of(weights.tensors);
  io::write_safetensors(options.out, weights.tensors, weights.metadata);
  core::info("{}: {} tensors, {} bytes, xxh128 {}", options.out.string(), weights.tensors.size(), fs::file_size(options.out), io::hash_file(options.out));
}

}  // namespace

void convert(const ConvertOptions& options) {
  const bool folder = options.as == "stable-diffusion";
  if (!folder && (!options.tokenizer.empty() || !options.prediction.empty() || options.last_weights))
    throw core::UsageError("--tokenizer, --prediction and --no-ema belong to --as stable-diffusion");
  if (folder) {
    convert_stable_diffusion(options);
  } else {
    convert_to_file(options);
  }
}

}  // namespace syncdr::data_tools
