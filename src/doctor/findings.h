#pragma once
#include <boost/json/object.hpp>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"

/// What the doctor looks at.
namespace syncdr::doctor {

enum class Health { good, note, bad };

/// What one rank found: what was looked at, what was seen, and what to do about it.
struct Finding {
  std::string what, found, mend;
  Health health = Health::good;
  double margin = 0;           ///< of several ranks' findings of the same health and mend, the one with the least is shown
  std::string if_they_differ;  ///< what to do if ranks found different things; empty: they may
  boost::json::object figures; ///< for programs; of the first rank that gives some
};
using Findings = std::vector<Finding>;

/// Raises a finding's health and adds to what to do.
void worsen(Finding& finding, Health health, const std::string& mend);
/// work's finding; what it throws becomes a bad one, so that a rank that cannot go on still meets its peers.
Finding attempt(const std::string& what, const std::string& mend, const std::function<Finding()>& work);

/// Programs, devices, links, memory, limits: what this rank sees. Calls no peer.
Findings look_at_host(const comm::World& world);
/// Cores that the control groups' quota allows; nothing if there is none.
std::optional<double> core_quota();
/// Whether ranks of a host share its cores well. A collective; a rank that is not the first of its host finds nothing.
Findings look_at_cores(comm::World& world);
/// How much longer a rank computes when all ranks of its host do. A collective; the first rank of a host of several finds. In `figures`: slowdown and
/// ranks_per_node as `syncdr plan` takes them.
Findings look_at_speed(comm::World& world);
/// How fast ranks talk. A collective; rank 0 finds. In `figures`: latency_us, bandwidth_gb, all_reduce as `syncdr plan` takes them.
Findings look_at_messages(comm::World& world);
/// Whether the folder keeps what syncdr relies on: durable writes, renames and links that are atomic, exclusive creation, one view for all ranks, HDF5.
/// A collective. Leaves nothing behind.
Findings look_at_folder(comm::World& world, const std::filesystem::path& folder);

}  // namespace syncdr::doctor
