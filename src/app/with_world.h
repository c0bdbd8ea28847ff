#pragma once
#include <boost/json/object.hpp>
#include <functional>

#include "commands.h"
#include "settings.h"
#include "syncdr/comm/world.h"

namespace syncdr::app {

/// Starts the job's ranks, reads the settings, calls work on every rank, writes the figures that it returns (--json), and ends the job in order.
/// Returns the exit code that all ranks agreed on.
int with_world(const CommonOptions& options, const std::function<boost::json::object(comm::World&, const Settings&)>& work);

}  // namespace syncdr::app
