#include "layouts.h"

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

}  // namespace syncdr::encoders
