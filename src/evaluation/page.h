#pragma once
#include <string>

#include "syncdr/data/dataset.h"
#include "syncdr/evaluation/report.h"

/// The sections of the page, and what they share.
namespace syncdr::evaluation {

/// An <img> with its pixels inside: small pictures as they are (PNG), larger ones shrunk to a square thumbnail (JPEG).
std::string image_tag(const data::Image& image, const std::string& alternative);

/// count rows of [0, size), ascending, one from each of count equal stretches and the same every time: nothing is picked by hand. Fewer if
/// size is smaller.
std::vector<int64_t> spread_rows(int64_t size, int64_t count);

/// For each arm, translated set of it and direction a sheet of source and translation.
std::string pairs_section(const data::Dataset& dataset, const ReportInput& input);

/// The same queries of all directions with what the main and the baseline arm find; empty if there is neither.
std::string retrieval_section(const data::Dataset& dataset, const ReportInput& input);

/// Loss and validation of all arms, then each further log; empty if there is no log. A missing log is passed over with a warning.
std::string curves_section(const ReportInput& input);

}  // namespace syncdr::evaluation
