#pragma once
#include "syncdr/core/svg.h"

namespace syncdr::evaluation {

using core::base64;
using core::escape;

}  // namespace syncdr::evaluation
