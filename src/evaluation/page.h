#pragma once
#include <string>

#include "syncdr/data/dataset.h"
#include "syncdr/evaluation/report.h"

/// The sections of the page, and what they share.
namespace syncdr::evaluation {

/// A page of its own: head, style, title, what is below it, links to the sections of `main` that have an id, and main.
std::string whole_page(const std::string& title, const std::string& below_title, const std::string& main);

/// The opening tag of a box in which what is too wide can be scrolled, also by keys; `label` names it to those who do not see it.
std::string scroll_box(const std::string& label);

/// An <img> with its pixels inside: small pictures as they are (PNG, or JPEG where that is large), larger ones shrunk to a
/// square thumbnail (JPEG).
std::string image_tag(const data::Image& image, const std::string& alternative);

/// count rows of [0, size), ascending, one from each of count equal stretches and the same every time: nothing is picked by hand. Fewer if
/// size is smaller.
std::vector<int64_t> spread_rows(int64_t size, int64_t count);

/// Figures beside those of the headline table, and of categories that training has seen or not; empty without any.
std::string further_section(const ReportInput& input);

/// All translated sets of the arms, each once.
std::vector<std::string> sets_of(const ReportInput& input);

/// For each translated set and direction a sheet of source and translation: those that retention finds kept best and worst, and some evenly spread.
std::string pairs_section(const data::Dataset& dataset, const ReportInput& input);

/// The same queries of all directions with what the main and the baseline arm find; empty if there is neither.
std::string retrieval_section(const data::Dataset& dataset, const ReportInput& input);

/// Loss and validation of all arms, then each further log; empty if there is no log. A missing log is passed over with a warning.
std::string curves_section(const ReportInput& input);

/// Which category the nearest image of each query shows, by the main arm (without it the baseline): a matrix for a few categories, for more the most frequent
/// confusions and the categories found worst; empty if there is neither arm.
std::string confusion_section(const data::Dataset& dataset, const ReportInput& input);

/// Maps of features; empty without any.
std::string maps_section(const ReportInput& input);

/// What the phases took, and on what; empty if that is not known.
std::string calls_section(const ReportInput& input);
/// "95.2 s", "12 min", "3 h 05 min".
std::string duration_text(double seconds);
/// At least 0: "0", "&lt; 0.01", "5.25", "1,234".
std::string short_number(double value);

/// The configuration, its seed, and which settings are not as by default.
std::string configuration_section(const ReportInput& input);

/// Images and translations that were quarantined, with reasons. Throws DataError if quarantine.json is broken.
std::string quarantine_section(const data::Dataset& dataset, const ReportInput& input);

}  // namespace syncdr::evaluation
