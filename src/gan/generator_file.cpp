#include "syncdr/gan/generator_file.h"

#include <algorithm>

#include "syncdr/core/error.h"
#include "syncdr/nn/weights.h"

namespace syncdr::gan {
namespace {

/// Published files hold the constant filters of their resampling layers, which are code here. Another filter would be another network.
void drop_filters(io::NamedTensors& tensors, const std::string& where) {
  const auto is_binomial = [](const at::Tensor& filter) {
    if (filter.dim() != 4 || filter.numel() == 0) return false;
    const bool down = filter.size(-1) == 3;
    const at::Tensor line = down ? at::tensor({1.0f, 2.0f, 1.0f}) / 4 : at::tensor({1.0f, 3.0f, 3.0f, 1.0f}) / 4;
    return filter.size(-1) == line.size(0) && filter.size(-2) == line.size(0) && at::allclose(filter.to(at::kFloat), at::outer(line, line).expand_as(filter));
  };
  for (auto item = tensors.begin(); item != tensors.end();) {
    if (!item->first.ends_with(".filt")) {
      ++item;
      continue;
    }
    if (!is_binomial(item->second)) throw core::DataError("{}: \"{}\" is not the binomial filter that this generator resamples with", where, item->first);
    item = tensors.erase(item);
  }
}

/// Width and blocks as the tensors show them.
GeneratorConfig config_of_shapes(const io::NamedTensors& tensors, const std::string& where) {
  GeneratorConfig config;
  const auto first = tensors.find("model.1.weight");
  config.blocks = std::count_if(tensors.begin(), tensors.end(), [](const auto& item) { return item.first.ends_with(".conv_block.1.weight"); });
  if (first == tensors.end() || first->second.dim() != 4 || config.blocks == 0 || config.blocks > 32 || first->second.size(0) < 1 ||
      first->second.size(0) > 512)
    throw core::DataError("{}: no CUT generator: it has neither the metadata \"generator\" nor the tensors of one", where);
  config.width = first->second.size(0);
  if (config.blocks < 5) config.nce_layers = {0, 4, 8, 12};
  return config;
}

GeneratorConfig config_of(const io::Safetensors& file, const std::string& where) {
  const auto text = file.metadata.find("generator");
  if (text == file.metadata.end()) return config_of_shapes(file.tensors, where);
  GeneratorConfig config;
  try {
    core::read_config_text(core::visit_of(config), text->second, where + ": metadata \"generator\"");
  } catch (const core::UsageError& error) {
    throw core::DataError("{}", error.what());  // the file is at fault here, not the user's settings
  }
  return config;
}

}  // namespace

void save_generator(const std::filesystem::path& file, const Generator& generator) {
  GeneratorConfig config = generator->config();
  io::write_safetensors(file, nn::state_of(*generator), {{"generator", core::write_config(core::visit_of(config))}});
}

Generator generator_of(io::Safetensors content, const std::string& where) {
  const GeneratorConfig config = config_of(content, where);
  drop_filters(content.tensors, where);
  Generator generator(config);
  nn::load_state(*generator, content.tensors, where);
  generator->eval();
  return generator;
}

Generator load_generator(const std::filesystem::path& file) { return generator_of(io::read_safetensors(file), file.string()); }

}  // namespace syncdr::gan
