#pragma once
#include <string>

#include "syncdr/evaluation/report.h"

namespace syncdr::evaluation {

/// Loss and validation of all arms, then each further log; empty if there is no log. A missing log is passed over with a warning.
std::string curves_section(const ReportInput& input);

}  // namespace syncdr::evaluation
