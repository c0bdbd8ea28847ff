#pragma once
#include <ATen/autocast_mode.h>
#include <c10/core/Device.h>

#include <optional>
#include <string>

namespace syncdr::training {

/// What a setting named precision means: "bf16" and "fp16" are autocast, the others none.
inline std::optional<at::ScalarType> autocast_type(const std::string& precision) {
  if (precision == "bf16") return at::kBFloat16;
  if (precision == "fp16") return at::kHalf;
  return std::nullopt;
}

/// While it lives, convolutions and matrix products on this kind of device run in this type, if there is one; parameters and sums stay float32. Gradients in
/// float16 need a LossScaler.
class Autocast {
 public:
  Autocast(c10::Device device, std::optional<at::ScalarType> type) : type_(device.type()), before_(at::autocast::is_autocast_enabled(type_)) {
    if (type) at::autocast::set_autocast_dtype(type_, *type);
    at::autocast::set_autocast_enabled(type_, type.has_value());
  }
  Autocast(c10::Device device, bool bfloat16) : Autocast(device, bfloat16 ? std::optional(at::kBFloat16) : std::nullopt) {}
  ~Autocast() {
    at::autocast::clear_cache();  // it holds copies of parameters that the optimizer is about to change
    at::autocast::set_autocast_enabled(type_, before_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType type_;
  bool before_;
};

}  // namespace syncdr::training
