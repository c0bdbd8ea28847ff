#pragma once
#include <boost/json/object.hpp>
#include <map>
#include <string>
#include <vector>

#include "commands.h"
#include "syncdr/io/safetensors.h"

namespace syncdr::data_tools {

/// What is gathered from the files that go in.
struct Weights {
  io::NamedTensors tensors;
  std::map<std::string, std::string> metadata;
  boost::json::object sources;  ///< name of a file -> its hash
  std::string key;

  void add_source(const std::filesystem::path& file);
};

/// The tensors of options.in, without what options.strip takes off their names. Throws DataError and UsageError.
Weights read_weights_in(const ConvertOptions& options);

/// "xxh128:..." of a file.
std::string hash_text(const std::filesystem::path& file);
/// core::some_of() of twenty: what was left out of a file can matter.
std::string some(const std::vector<std::string>& names);

/// ELITE's global mapper and CUT's generator: names as their readers want them. Throw DataError if it is none.
void check_elite(const Weights& weights, const std::filesystem::path& file);
void check_cut(Weights& weights, const std::filesystem::path& file);
/// Stable Diffusion's original layout becomes a folder.
void convert_stable_diffusion(const ConvertOptions& options);

}  // namespace syncdr::data_tools
