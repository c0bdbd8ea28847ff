#pragma once
#include <boost/json/object.hpp>
#include <optional>

#include "syncdr/data/pair_set.h"
#include "syncdr/retrieval/trainer.h"

/// What a folder of a training run says about itself, so that it is never continued or taken for done with other settings.
namespace syncdr::retrieval {

/// All that the result depends on: configuration, seed, domains, translation run, number of entries. Keys that only change speed or when
/// state is saved are left out, so they may differ when a run goes on.
boost::json::object run_identity(const TrainConfig& config, uint64_t seed, const std::string& domain_a, const std::string& domain_b,
                                 const std::string& run, const data::PairSet& a, const data::PairSet& b);

/// Throws UsageError naming the first difference and the folder to remove.
void check_identity(const boost::json::object& found, const boost::json::object& wanted, const std::filesystem::path& folder);

/// What FOLDER/done.json says, nothing if it is not there. All ranks call it.
std::optional<TrainResult> read_done(comm::World& world, const std::filesystem::path& folder, const boost::json::object& identity);
void write_done(const std::filesystem::path& folder, const boost::json::object& identity, const TrainResult& result);

}  // namespace syncdr::retrieval
