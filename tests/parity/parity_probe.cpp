#include <CLI/CLI.hpp>

#include <algorithm>
#include <map>

#include "probe.h"
#include "syncdr/core/error.h"

using namespace syncdr;

namespace syncdr::parity {
namespace {

struct Entry {
  Probe probe;
  std::string help;
};

// A function's static, so that it exists before the first registration, whatever the order of files.
std::map<std::string, Entry>& probes() {
  static std::map<std::string, Entry> all;
  return all;
}

/// C++ has underscores in its names, the command line dashes.
std::string dashed(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::string help_of_all() {
  std::string text =
      "WHAT, with the tensors of --in and --out. K stands for 0, 1, ...; B: images, C and h w: latents' channels and sides, H W: images' sides.\n";
  for (const auto& [name, entry] : probes()) {
    text += "\n  " + name + "\n      ";
    for (const char letter : entry.help) text += letter == '\n' ? std::string("\n      ") : std::string(1, letter);
  }
  return text;
}

}  // namespace

RegisterProbe::RegisterProbe(const char* name, Probe probe, const char* help) {
  SYNCDR_ASSERT(probes().emplace(dashed(name), Entry{probe, help}).second, "probe {} exists twice", name);
}

}  // namespace syncdr::parity

int main(int argc, char** argv) {
  std::string what, in, out, config, model;
  CLI::App app("computes one thing for a parity test", "parity_probe");
  app.add_option("what", what, "name of the probe")->required();
  app.add_option("--model", model, "a checkpoint's or a component's folder, or a file of weights");
  app.add_option("--in", in, "input tensors (.safetensors)");
  app.add_option("--out", out, "output tensors (.safetensors)")->required();
  app.add_option("--config", config, "configuration as TOML text");
  app.footer(parity::help_of_all());
  CLI11_PARSE(app, argc, argv);
  return core::run_main([&] {
    const auto found = parity::probes().find(parity::dashed(what));
    if (found == parity::probes().end()) throw core::UsageError("no probe \"{}\". `parity_probe --help` lists them", what);
    const io::NamedTensors tensors = in.empty() ? io::NamedTensors{} : io::read_safetensors(in).tensors;
    io::write_safetensors(out, found->second.probe(tensors, config, model));
    return 0;
  });
}
