#include "arm.h"

#include <algorithm>
#include <charconv>

#include "syncdr/core/error.h"

namespace syncdr::app {

Arm::Arm(const std::string& text) : name(text), base(text.substr(0, text.find(':'))), translator(translate::find_translator(base)) {
  if (base == text) return;
  const std::string count = text.substr(base.size() + 1);
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), variants);
  if (error != std::errc() || end != count.data() + count.size() || variants < 1 || variants > 64)
    throw core::UsageError("run.arms: \"{}\" is no arm: behind the colon stands how many variants of a translation to train on, 1 to 64", text);
}

std::string Arm::folder() const {
  std::string folder = name;
  std::replace(folder.begin(), folder.end(), ':', '-');
  return folder;
}

}  // namespace syncdr::app
