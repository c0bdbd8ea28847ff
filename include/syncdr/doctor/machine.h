#pragma once
#include <string>

namespace syncdr::doctor {

/// Models of this host's processor and GPUs, as the kernel and the driver name them; empty where they do not say.
std::string processor_model();
std::string gpu_model();

}  // namespace syncdr::doctor
