#include <fmt/format.h>

#include <regex>

#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/gan/generator_file.h"
#include "weights_in.h"

/// syncdr-data convert --as elite, --as cut: is it what the translator reads?
namespace syncdr::data_tools {
namespace fs = std::filesystem;
namespace {

struct Shape {
  std::string name;
  std::vector<int64_t> sizes;
};

/// One of ELITE's ten networks: Linear, LayerNorm, LeakyReLU, twice, and Linear.
std::vector<Shape> mapping_network(const std::string& name, int64_t in, int64_t hidden, int64_t out) {
  return {{name + ".0.weight", {hidden, in}},     {name + ".0.bias", {hidden}}, {name + ".1.weight", {hidden}}, {name + ".1.bias", {hidden}},
          {name + ".3.weight", {hidden, hidden}}, {name + ".3.bias", {hidden}}, {name + ".4.weight", {hidden}}, {name + ".4.bias", {hidden}},
          {name + ".6.weight", {out, hidden}},    {name + ".6.bias", {out}}};
}

const at::Tensor& found(const io::NamedTensors& tensors, const std::string& name, size_t dims, const fs::path& file) {
  const auto item = tensors.find(name);
  if (item == tensors.end() || size_t(item->second.dim()) != dims || !item->second.is_floating_point())
    throw core::DataError("{}: is no mapper of ELITE: it has no \"{}\" of {} dimensions", file.string(), name, dims);
  return item->second;
}

}  // namespace

void check_elite(const Weights& weights, const fs::path& file) {
  if (file.filename().string().starts_with("local"))
    throw core::DataError(
        "{}: ELITE's local mapper, whose names and shapes are those of the global one, belongs to a part of ELITE that is not here. Take "
        "global_mapper.pt; if this is one, give it another name",
        file.string());
  const io::NamedTensors& tensors = weights.tensors;
  const at::Tensor &first = found(tensors, "mapping_0.0.weight", 2, file), &last = found(tensors, "mapping_0.6.weight", 2, file);
  size_t of_networks = 0, projections = 0;
  for (int i = 0; i < 5; ++i) {
    for (const char* kind : {"mapping", "mapping_patch"}) {
      for (const Shape& shape : mapping_network(fmt::format("{}_{}", kind, i), first.size(1), first.size(0), last.size(0))) {
        const at::Tensor& tensor = found(tensors, shape.name, shape.sizes.size(), file);
        if (tensor.sizes() != at::IntArrayRef(shape.sizes))
          throw core::DataError("{}: \"{}\" has shape [{}], where \"mapping_0\" has [{}]", file.string(), shape.name, fmt::join(tensor.sizes(), ", "),
                                fmt::join(shape.sizes, ", "));
        ++of_networks;
      }
    }
  }
  static const std::regex projection(R"(.*_attn2_to_[kv]\.weight)");
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with("mapping_")) continue;
    if (!std::regex_match(name, projection) || tensor.dim() != 2 || tensor.size(1) != last.size(0))
      throw core::DataError("{}: \"{}\" of shape [{}] is no projection of words of {} values", file.string(), name, fmt::join(tensor.sizes(), ", "),
                            last.size(0));
    ++projections;
  }
  if (const size_t more = tensors.size() - of_networks - projections; more > 0)
    throw core::DataError("{}: has {} tensors \"mapping_...\" that no mapper of ELITE has", file.string(), more);
  core::info("{}: ELITE's mapper: of hidden states of width {} it makes words of width {}; {} projections of a UNet", file.string(), first.size(1),
             last.size(0), projections);
}

void check_cut(Weights& weights, const fs::path& file) {
  // With --no_dropout False the blocks hold a dropout, a layer without effect in use that shifts the second convolution's number.
  io::NamedTensors renamed;
  static const std::regex shifted(R"((model\.\d+\.conv_block\.)6(\..*))");
  for (const auto& [name, tensor] : weights.tensors) renamed.emplace(std::regex_replace(name, shifted, "$015$2"), tensor);
  if (renamed.size() != weights.tensors.size()) throw core::DataError("{}: has blocks with and without dropout: no CUT generator", file.string());
  weights.tensors = std::move(renamed);
  const gan::Generator generator = gan::generator_of({.tensors = weights.tensors, .metadata = weights.metadata}, file.string());
  core::info("{}: CUT's generator of width {} with {} blocks", file.string(), generator->config().width, generator->config().blocks);
}

}  // namespace syncdr::data_tools
