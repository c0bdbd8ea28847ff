#include "layouts.h"

#include <ATen/ops/_upsample_bicubic2d_aa.h>

#include <cmath>

#include "syncdr/core/error.h"

namespace syncdr::encoders {

io::NamedTensors renamed(const io::NamedTensors& file, const std::function<std::string(const std::string&)>& name, const std::string& where) {
  io::NamedTensors tensors;
  for (const auto& [theirs, tensor] : file) {
    const std::string ours = name(theirs);
    if (ours.empty()) continue;
    if (!tensors.emplace(ours, tensor).second) {
      throw core::DataError("{}: \"{}\" and another tensor are both \"{}\" of the network. Keep one of them.", where, theirs, ours);
    }
  }
  return tensors;
}

at::Tensor resampled_positions(const at::Tensor& positions, int64_t side, const std::string& where) {
  const auto before = std::llround(std::sqrt(static_cast<double>(positions.size(0))));
  if (before * before != positions.size(0)) {
    throw core::DataError("{}: its position embeddings, {} in number, are not those of a square image", where, positions.size(0));
  }
  if (before == side) return positions.to(at::kFloat);
  const at::Tensor map = positions.to(at::kFloat).unflatten(0, {before, before}).permute({2, 0, 1}).unsqueeze(0);  // [1, D, n, n]
  return at::_upsample_bicubic2d_aa(map, {side, side}, /*align_corners=*/false)[0].permute({1, 2, 0}).flatten(0, 1);
}

}  // namespace syncdr::encoders
