#pragma once
#include <string>
#include <vector>

#include "model.h"

namespace syncdr::plan {

/// "95 s", "12.4 h", "3.2 d", "never": a time in three digits.
std::string duration_text(double seconds);

/// Two diagrams over the number of ranks, as an SVG file that needs nothing else: the time beside that of perfect division (both axes logarithmic), and the
/// efficiency (from 0 to 100 %: on a logarithmic axis a loss of half would look small). Points that never end are left out. At least one point.
std::string plan_plot(const std::string& title, const std::vector<PlanPoint>& points);

}  // namespace syncdr::plan
