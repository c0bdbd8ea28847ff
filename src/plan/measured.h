#pragma once
#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "model.h"

namespace syncdr::plan {

/// What earlier commands measured, as their --json files say.
struct Measured {
  struct Sharing {
    double slowdown = 1;
    int64_t ranks_per_node = 1;
  };
  std::vector<MeasuredTranslation> translations;  ///< directions that made images
  std::vector<MeasuredTraining> trainings;
  std::optional<Link> link;        ///< of `syncdr doctor` on several ranks
  std::optional<Sharing> sharing;  ///< of `syncdr doctor` on several ranks of a host
};

/// Adds what a document holds: objects with images, compute_seconds, seconds and ranks are directions of a translation; with steps, images_per_step,
/// parameters, seconds and ranks a training; with latency_us, bandwidth_gb and all_reduce a link; with slowdown and ranks_per_node what the ranks of a node
/// cost each other. `of` chooses one member of the document, as "translate cut"; empty: all. `where` names the document in errors. Throws UsageError if
/// `of` is not there, or is empty where several members "COMMAND ..." would be mixed; DataError if a figure is no number or makes no sense.
void add_measured(Measured& measured, const boost::json::value& document, const std::string& command, const std::string& of, const std::string& where);

}  // namespace syncdr::plan
