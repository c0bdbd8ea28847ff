#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "syncdr/io/pickle.h"

namespace syncdr::data_tools {

/// The tensors of a file that are wanted, by name; names within nested dictionaries are joined by ".".
struct StateDict {
  std::string key;  ///< where they lie; "." is the whole file
  std::map<std::string, const io::PickleValue*> tensors;
  std::vector<std::string> skipped;  ///< what stands among and beside them and is no tensor
};

/// key  where they lie: a name, or several joined by "."; ".": the whole file; none: the only dictionary of tensors there is
/// Throws UsageError if there is no such key, or several dictionaries of tensors and no key; DataError if nothing holds tensors, if there are lists or
/// sets among them, or a name occurs twice.
StateDict find_state_dict(const io::PickleValue& root, const std::optional<std::string>& key, const std::string& file);

}  // namespace syncdr::data_tools
