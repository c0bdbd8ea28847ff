#pragma once
#include <string>

#include "syncdr/io/safetensors.h"

/// What parity_probe can compute: a probe takes named tensors and a configuration (TOML text, perhaps empty) and returns named tensors, which a
/// Python script compares with the original's. A file probe_*.cpp registers its probes:
///
///     SYNCDR_PROBE(info_nce) {
///       Config config;
///       core::read_config_text(core::visit_of(config), toml, "--config");
///       return {{"loss", retrieval::info_nce(in.at("features"), in.at("targets"), config.temperature)}};
///     }
///
/// and the script calls: parity_probe info_nce --in X.safetensors --out Y.safetensors --config 'temperature = 0.1'
namespace syncdr::parity {

using Probe = io::NamedTensors (*)(const io::NamedTensors& in, const std::string& toml);

struct RegisterProbe {
  RegisterProbe(const char* name, Probe probe);
};

}  // namespace syncdr::parity

#define SYNCDR_PROBE(name)                                                                                              \
  static ::syncdr::io::NamedTensors probe_##name(const ::syncdr::io::NamedTensors& in, const std::string& toml);        \
  static const ::syncdr::parity::RegisterProbe register_##name(#name, probe_##name);                                    \
  static ::syncdr::io::NamedTensors probe_##name([[maybe_unused]] const ::syncdr::io::NamedTensors& in, [[maybe_unused]] const std::string& toml)
