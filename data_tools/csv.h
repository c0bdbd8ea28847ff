#pragma once
#include <string>

namespace syncdr::data_tools {

/// A text as a field of a table, quoted where it has to be (RFC 4180).
std::string csv_field(const std::string& text);

}  // namespace syncdr::data_tools
