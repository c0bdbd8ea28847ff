#include <ATen/autocast_mode.h>

#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/core/error.h"
#include "vit.h"

using namespace syncdr;

namespace {

struct VitConfig {
  std::string name, precision = "float";
  int64_t size = 0, depth = 0;
  void visit(core::Fields& field) {
    field(name, "name", "");
    field(precision, "precision", "");
    field(size, "size", "");
    field(depth, "depth", "");
  }
};

}  // namespace

SYNCDR_PROBE(vit,
             "--model: a file of weights. images [B, 3, size, size] normalised -> features [B, D]; mean, deviation [3], trained_size, trained_depth, epsilon "
             "[] of the row\n"
             "TOML: name of the row; size: 0, as it was trained; depth: 0, all blocks; precision: float, double, autocast (to bfloat16)") {
  VitConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  const encoders::BackboneRow* row = encoders::find_backbone(config.name);
  if (row == nullptr) throw core::UsageError("no row \"{}\"", config.name);
  const int64_t size = config.size > 0 ? config.size : row->size;
  encoders::VitOptions options = std::dynamic_pointer_cast<encoders::Vit>(row->make(*row, row->size))->options();
  const int64_t trained_depth = options.depth;
  if (config.depth > 0) options.depth = config.depth;
  encoders::Vit vit(row->name, options, size);
  encoders::load_backbone(vit, io::read_safetensors(model).tensors, model.string());
  vit.eval();
  at::Tensor images = in.at("images");
  if (config.precision == "double") {
    vit.to(at::kDouble);
    images = images.to(at::kDouble);
  }
  const at::NoGradGuard no_gradient;
  at::autocast::set_autocast_enabled(at::kCPU, config.precision == "autocast");
  const at::Tensor features = vit.forward(images);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  const auto numbers = [](const std::array<double, 3>& values) { return at::tensor(at::ArrayRef<double>(values)); };
  return {{"features", features},
          {"mean", numbers(row->normalisation.mean)},
          {"deviation", numbers(row->normalisation.deviation)},
          {"trained_size", at::scalar_tensor(row->size)},
          {"trained_depth", at::scalar_tensor(trained_depth)},
          {"epsilon", at::scalar_tensor(options.epsilon, at::kDouble)}};
}
