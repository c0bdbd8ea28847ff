#pragma once
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <chrono>
#include <filesystem>
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
  double margin = 0;            ///< of several ranks' findings of the same health and mend, the one with the least is shown
  std::string if_they_differ;   ///< what to do if ranks found different things; empty: they may
  boost::json::object figures;  ///< for programs; of the first rank that gives some
};
using Findings = std::vector<Finding>;

/// Raises a finding's health and adds to what to do.
void worsen(Finding& finding, Health health, const std::string& mend);
/// "1 rank", "2 ranks".
inline std::string count_of(int64_t count, const char* noun) { return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s"); }

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

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
