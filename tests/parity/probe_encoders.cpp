#include "probe.h"
#include "syncdr/retrieval/encoder.h"

using namespace syncdr;

namespace {

struct BackboneConfig {
  std::string name;
  int64_t size = 0;
  void visit(core::Fields& field) {
    field(name, "name", "");
    field(size, "size", "");
  }
};

}  // namespace

SYNCDR_PROBE(backbone,
             "--model: a file of weights. images [B, 3, H, W] uint8 -> images [B, 3, H, W] normalised, features [B, D]\n"
             "and weights [B, D] -> in training, in fp64: trained [B, D], gradient, of sum(trained * weights) by the first parameter\n"
             "TOML: name of the backbone; size: 0, as it was trained") {
  BackboneConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  const encoders::BackboneRow& row = *encoders::find_backbone(config.name);
  const auto backbone = row.make(row, config.size > 0 ? config.size : row.size);
  encoders::load_backbone(*backbone, io::read_safetensors(model).tensors, model.string());
  const at::Tensor images = retrieval::normalise_images(in.at("images"), row.normalisation, at::kCPU);
  backbone->eval();
  io::NamedTensors out{{"images", images}};
  {
    const at::NoGradGuard no_gradient;
    out["features"] = backbone->forward(images);
  }
  if (!in.contains("weights")) return out;
  backbone->to(at::kDouble);
  backbone->train();
  const at::Tensor trained = backbone->forward(images.to(at::kDouble));
  (trained * in.at("weights")).sum().backward();
  out["trained"] = trained.detach();
  out["gradient"] = backbone->parameters().front().grad();
  return out;
}
