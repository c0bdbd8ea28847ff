#pragma once
#include <ATen/autocast_mode.h>
#include <c10/core/Device.h>

namespace syncdr::training {

/// While it lives, convolutions and matrix products on this kind of device run in bfloat16 where on is true; parameters and sums stay float32.
class Autocast {
 public:
  Autocast(c10::Device device, bool on) : type_(device.type()), before_(at::autocast::is_autocast_enabled(type_)) {
    if (on) at::autocast::set_autocast_dtype(type_, at::kBFloat16);
    at::autocast::set_autocast_enabled(type_, on);
  }
  ~Autocast() {
    at::autocast::clear_cache();  // it holds bfloat16 copies of parameters that the optimizer is about to change
    at::autocast::set_autocast_enabled(type_, before_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType type_;
  bool before_;
};

}  // namespace syncdr::training
