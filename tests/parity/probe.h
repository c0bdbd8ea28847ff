#pragma once
#include <filesystem>
#include <string>

#include "syncdr/io/safetensors.h"

/// What parity_probe can compute: a probe takes named tensors, a configuration (TOML text, perhaps empty) and a model's folder or file (perhaps empty),
/// and returns named tensors, which a Python script compares with the original's. A file probe_*.cpp registers its probes, each with the help that
/// `parity_probe --help` prints, names and shapes of what goes in and out:
///
///     SYNCDR_PROBE(info_nce, "features [B, D], targets [B] -> loss []. TOML: temperature") {
///       Config config;
///       core::read_config_text(core::visit_of(config), toml, "--config");
///       return {{"loss", retrieval::info_nce(in.at("features"), in.at("targets"), config.temperature)}};
///     }
///
/// and the script calls: parity_probe info-nce --in X.safetensors --out Y.safetensors --config 'temperature = 0.1'
namespace syncdr::parity {

using Probe = io::NamedTensors (*)(const io::NamedTensors& in, const std::string& toml, const std::filesystem::path& model);

struct RegisterProbe {
  RegisterProbe(const char* name, Probe probe, const char* help = "");
};

/// One component of a checkpoint: the model is the checkpoint, or the component's folder alone.
inline std::filesystem::path component_of(const std::filesystem::path& model, const char* name) {
  return std::filesystem::exists(model / "model_index.json") ? model / name : model;
}

}  // namespace syncdr::parity

#define SYNCDR_PROBE(name, ...)                                                                                                                   \
  static ::syncdr::io::NamedTensors probe_##name(const ::syncdr::io::NamedTensors&, const std::string&, const std::filesystem::path&);            \
  static const ::syncdr::parity::RegisterProbe register_##name(#name, probe_##name __VA_OPT__(, ) __VA_ARGS__);                                   \
  static ::syncdr::io::NamedTensors probe_##name([[maybe_unused]] const ::syncdr::io::NamedTensors& in, [[maybe_unused]] const std::string& toml, \
                                                 [[maybe_unused]] const std::filesystem::path& model)
