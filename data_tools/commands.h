#pragma once
#include <CLI/CLI.hpp>

/// The commands of syncdr-data, one file each. An add_NAME function registers a subcommand with its options and a callback that does the work;
/// the callback throws core::Error, which main turns into the exit code.
///
///     void add_verify(CLI::App& app) {
///       auto options = std::make_shared<Options>();                       // lives as long as the callback
///       CLI::App* command = app.add_subcommand("verify", "check every file, row and checksum of a dataset");
///       command->add_option("dataset", options->folder, "dataset folder")->required();
///       command->callback([options] { verify(*options); });
///     }
namespace syncdr::data_tools {

void add_pack(CLI::App& app);
void add_inspect(CLI::App& app);
void add_verify(CLI::App& app);
void add_emoji(CLI::App& app);
void add_export(CLI::App& app);

}  // namespace syncdr::data_tools
