#pragma once
#include <boost/json/object.hpp>

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "settings.h"
#include "syncdr/comm/world.h"

/// One function a command: it adds the command to the program, with what is to be done when it is chosen.
namespace syncdr::app {

/// What the command line chose: run() is called once parsing is over and returns the exit code.
struct Chosen {
  std::function<int()> run;
};

void add_run(CLI::App& program, Chosen& chosen);
void add_fit(CLI::App& program, Chosen& chosen);
void add_translate(CLI::App& program, Chosen& chosen);
void add_train(CLI::App& program, Chosen& chosen);
void add_evaluate(CLI::App& program, Chosen& chosen);
void add_doctor(CLI::App& program, Chosen& chosen);
void add_keys(CLI::App& program, Chosen& chosen);

/// Options of every command that works on a dataset.
struct CommonOptions {
  std::string config;
  std::vector<std::string> sets;
  std::string json;
  bool print_config = false;
};
void add_common_options(CLI::App& command, CommonOptions& options);

/// Starts the job's ranks, reads the settings, calls work on every rank, writes the figures that it returns (--json), and ends the job in order.
/// Returns the exit code that all ranks agreed on.
int with_world(const CommonOptions& options, const std::function<boost::json::object(comm::World&, const Settings&)>& work);

}  // namespace syncdr::app
