#pragma once
#include <functional>

#include "syncdr/comm/world.h"

namespace syncdr::translate {

/// Runs work on every rank and lets all ranks end alike: if it throws on any, each throws a core::Error with the code and message of the rank whose
/// code is the smallest (the most to blame; the first such rank). A collective, also when work throws; work itself should take less than a deadline.
void together(comm::World& world, const char* what, const std::function<void()>& work);

}  // namespace syncdr::translate
