#pragma once
#include <string>

/// What the machines of a job have for syncdr, and what to mend.
namespace syncdr::doctor {

/// Starts the job's ranks, looks at their hosts, at what ranks cost each other and at the folder where results will be written, and prints a
/// table. json: a file for the findings, or empty. Returns the program's exit code: io if something is bad.
int examine(const std::string& folder, const std::string& json);

}  // namespace syncdr::doctor
