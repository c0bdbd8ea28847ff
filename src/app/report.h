#pragma once
#include "phases.h"
#include "syncdr/evaluation/report.h"

/// What the report shows beside the figures of its arms.
namespace syncdr::app {

/// Where the images of training lie among each other, before it and after that of the main arm (without it the first that is trained); none if no arm is, or
/// if evaluate.tsne_points is 0. Called by all ranks; the maps are rank 0's.
std::vector<evaluation::FeatureMap> feature_maps(Job& job, const std::vector<evaluation::ArmResult>& arms);

/// The arms with title, domains, curves of translators, configuration, what calls have noted, and which translations are kept best and worst.
evaluation::ReportInput report_input(const Job& job, std::vector<evaluation::ArmResult> arms, const std::string& split);

/// A hash of each domain's keys and labels in a split: runs in which they are the same were measured on the same queries.
boost::json::object images_of(const Job& job, const std::string& split);

}  // namespace syncdr::app
