#include <CLI/CLI.hpp>

#include <map>

#include "probe.h"
#include "syncdr/core/error.h"
#include "syncdr/core/main.h"

using namespace syncdr;

namespace syncdr::parity {
namespace {

// A function's static, so that it exists before the first registration, whatever the order of files.
std::map<std::string, Probe>& probes() {
  static std::map<std::string, Probe> all;
  return all;
}

}  // namespace

RegisterProbe::RegisterProbe(const char* name, Probe probe) { SYNCDR_ASSERT(probes().emplace(name, probe).second, "probe {} exists twice", name); }

}  // namespace syncdr::parity

int main(int argc, char** argv) {
  std::string what, in, out, config;
  CLI::App app("computes one thing for a parity test", "parity_probe");
  app.add_option("what", what, "name of the probe")->required();
  app.add_option("--in", in, "input tensors (.safetensors)");
  app.add_option("--out", out, "output tensors (.safetensors)")->required();
  app.add_option("--config", config, "configuration as TOML text");
  CLI11_PARSE(app, argc, argv);
  return core::run_main([&] {
    const auto found = parity::probes().find(what);
    if (found == parity::probes().end()) throw core::UsageError("no probe \"{}\"", what);
    const io::NamedTensors tensors = in.empty() ? io::NamedTensors{} : io::read_safetensors(in).tensors;
    io::write_safetensors(out, found->second(tensors, config));
    return 0;
  });
}
