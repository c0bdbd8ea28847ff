#include <fmt/format.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <filesystem>
#include <fstream>

#include "commands.h"
#include "syncdr/comm/about.h"
#include "syncdr/comm/world.h"
#include "syncdr/io/about.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::app {
namespace {

enum class State { good, note, bad };

/// One line of the table: what was looked at, what was found, and what to do about it.
struct Finding {
  std::string what, found, mend;
  State state = State::good;
};

/// A value of /proc/meminfo in GiB; 0 where there is none.
double memory(const std::string& name) {
  std::ifstream file("/proc/meminfo");
  std::string key;
  double kib = 0;
  for (std::string rest; file >> key >> kib; std::getline(file, rest))
    if (key == name + ":") return kib / (1 << 20);
  return 0;
}

Finding check_memory(const comm::World& world) {
  const double available = memory("MemAvailable"), share = available / world.local_size();
  Finding finding{"memory", fmt::format("{:.1f} GiB free of {:.1f}, {:.1f} a rank", available, memory("MemTotal"), share), "", State::good};
  if (share < 2) {
    finding.state = State::note;
    finding.mend = "under 2 GiB a rank: start fewer ranks on this host";
  }
  return finding;
}

Finding check_devices(const comm::World& world) {
  const auto gpus = static_cast<int>(torch::cuda::device_count());
  if (gpus == 0) {
    return {"devices", "no GPU; models run on the CPU", comm::has_nccl() ? "if there should be one: look at nvidia-smi and CUDA_VISIBLE_DEVICES" : "", State::note};
  }
  if (gpus < world.local_size())
    return {"devices", fmt::format("{} GPUs for {} ranks of this host; models run on the CPU", gpus, world.local_size()), "start one rank a GPU", State::bad};
  return {"devices", fmt::format("{} GPUs, a rank has one", gpus), "", State::good};
}

Finding check_threads(const comm::World& world) {
  const int64_t threads = at::get_num_threads();
  Finding finding{"threads", fmt::format("{} a rank, {} ranks on this host", threads, world.local_size()), "", State::good};
  if (threads == 1 && world.local_size() == 1) {
    finding.state = State::note;
    finding.mend = "one thread on the whole host: unset OMP_NUM_THREADS, or start more ranks";
  }
  return finding;
}

/// Writes, renames and removes a small file where the results will go.
Finding check_folder(const std::filesystem::path& folder) {
  try {
    const auto probe = folder / ".syncdr-doctor";
    io::write_file(probe, "probe");
    const bool same = io::read_file(probe) == "probe";
    std::filesystem::remove(probe);
    if (!same) return {"folder", folder.string() + " gives back other bytes than were written", "use another file system", State::bad};
    const double room = static_cast<double>(std::filesystem::space(folder).available) / (1 << 30);
    return {"folder", fmt::format("{}: can be written, {:.1f} GiB free", folder.string(), room), room < 1 ? "under 1 GiB: choose another with --folder" : "",
            room < 1 ? State::note : State::good};
  } catch (const std::exception& error) {
    return {"folder", error.what(), "choose another with --folder", State::bad};
  }
}

std::vector<Finding> look(const comm::World& world, const std::filesystem::path& folder) {
  std::vector<Finding> findings;
  findings.push_back({"syncdr", SYNCDR_VERSION, ""});
  findings.push_back({"MPI", fmt::format("{}, {} ranks", comm::mpi_version(), world.size()), world.size() == 1 ? "for several: mpirun -np N syncdr doctor" : ""});
  findings.push_back({"LibTorch", fmt::format("{}, {}", TORCH_VERSION, at::get_cpu_capability()), ""});
  findings.push_back({"collectives", fmt::format("{} in use, NCCL {}", world.backend(), comm::has_nccl() ? "built in" : "not built in"),
                      comm::has_nccl() ? "" : "for GPUs build against a LibTorch with CUDA", comm::has_nccl() ? State::good : State::note});
  findings.push_back(check_devices(world));
  findings.push_back(check_threads(world));
  findings.push_back(check_memory(world));
  findings.push_back({"HDF5", io::hdf5_version(), ""});
  findings.push_back(check_folder(folder));
  return findings;
}

}  // namespace

int doctor_command(const std::string& folder, const std::string& json) {
  comm::World world(comm::CommConfig{});
  auto code = core::ExitCode::done;
  if (world.is_root()) {
    boost::json::array figures;
    for (const auto& finding : look(world, folder)) {
      constexpr const char* marks[] = {"ok", "note", "BAD"};
      const char* mark = marks[static_cast<int>(finding.state)];
      fmt::print("{:<5} {:<12} {}\n", mark, finding.what, finding.found);
      if (!finding.mend.empty()) fmt::print("{:<18} -> {}\n", "", finding.mend);
      figures.push_back({{"what", finding.what}, {"state", mark}, {"found", finding.found}, {"mend", finding.mend}});
      if (finding.state == State::bad) code = core::ExitCode::io;
    }
    if (!json.empty()) io::write_json(json, figures);
  }
  return static_cast<int>(world.finish(code));
}

}  // namespace syncdr::app
