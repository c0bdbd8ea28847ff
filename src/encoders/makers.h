#pragma once
#include "syncdr/encoders/table.h"

namespace syncdr::encoders {

MakeBackbone make_resnet, make_clip_resnet, make_efficientnet_lite;

}  // namespace syncdr::encoders
