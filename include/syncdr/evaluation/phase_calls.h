#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

/// What the calls of a run's phases took, and on what: the report's account of time and cost.
namespace syncdr::evaluation {

/// A call that did something: it went on with a phase, or did it at once.
struct PhaseCall {
  std::string phase, subject;                   ///< "train", "cut"
  std::string ended;                            ///< UTC, "2026-11-30T14:05:00Z"
  double seconds = 0;                           ///< of wall time
  int64_t images = 0;                           ///< that it translated, trained on or embedded; 0: not known
  int64_t ranks = 1, threads = 1, gpus = 0;     ///< in all; threads that compute
  std::vector<std::string> hosts;               ///< each once
  std::string processor, gpu;                   ///< models of rank 0's host; gpu: empty where none was used
  std::map<std::string, std::string> versions;  ///< "syncdr", "commit", "LibTorch", "MPI"

  double thread_hours() const { return seconds * static_cast<double>(threads) / 3600; }
  double gpu_hours() const { return seconds * static_cast<double>(gpus) / 3600; }
};

boost::json::object to_json(const PhaseCall& call);
/// All *.json files of a folder, by their end; empty if it is not there. Throws DataError if one is broken.
std::vector<PhaseCall> read_calls(const std::filesystem::path& folder);

/// The calls of one phase for one subject, as one.
struct PhaseCost {
  std::string phase, subject;
  int64_t calls = 0, images = 0;
  double seconds = 0, seconds_of_images = 0, thread_hours = 0, gpu_hours = 0;
};
/// In the order in which phases were first called.
std::vector<PhaseCost> costs_of(const std::vector<PhaseCall>& calls);

}  // namespace syncdr::evaluation
