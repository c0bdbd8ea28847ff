#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/diffusion/checkpoint.h"

using namespace syncdr;

namespace {

struct ComponentConfig {
  std::string component, stem, variant;

  void visit(core::Fields& field) {
    field(component, "component", "its folder");
    field(stem, "stem", "the name of its files up to the first dot");
    field(variant, "variant", "as fp16; empty: none");
  }
};

}  // namespace

SYNCDR_PROBE(component_weights, "--model: a checkpoint -> the weights of one component as they are stored. TOML: component, stem, variant") {
  ComponentConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  return diffusion::CheckpointFolder(model, config.variant).weights(config.component, config.stem);
}
