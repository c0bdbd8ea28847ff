#pragma once
#include <boost/json/object.hpp>
#include <functional>
#include <string>

#include "commands.h"
#include "phases.h"

/// What surrounds the work of a command that takes a configuration.
namespace syncdr::app {

/// Reads the settings, starts the job's ranks, calls work on every rank, writes the figures that it returns (--json), and ends the job in order.
/// Returns the exit code that all ranks agreed on. stop_signal: of the settings; else this one.
int with_world(const CommonOptions& options, const std::function<boost::json::object(comm::World&, const Settings&)>& work,
               const std::string& stop_signal = "");

/// The same with the dataset opened.
int with_job(const CommonOptions& options, const std::function<boost::json::object(Job&)>& work);

}  // namespace syncdr::app
