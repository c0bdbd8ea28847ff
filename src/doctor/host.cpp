#include <ATen/Context.h>
#include <ATen/Version.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

#include "findings.h"
#include "syncdr/doctor/machine.h"
#include "syncdr/io/hdf5.h"

namespace syncdr::doctor {
namespace {

namespace fs = std::filesystem;
constexpr double gib = 1 << 30;

std::string first_line(const fs::path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

/// A number at the start of a file of the kernel; nothing if there is none ("max").
std::optional<double> number_in(const fs::path& file) {
  std::ifstream stream(file);
  double value = 0;
  return stream >> value ? std::optional(value) : std::nullopt;
}

/// The value behind a word in a file of lines "WORD VALUE".
std::optional<double> number_behind(const fs::path& file, const std::string& word) {
  std::ifstream stream(file);
  std::string name;
  double value = 0;
  for (std::string rest; stream >> name >> value; std::getline(stream, rest))
    if (name == word) return value;
  return std::nullopt;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) names.push_back(entry->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// The folders of this process's control groups, its own and those above it: version 2, or the named controller of version 1.
std::vector<fs::path> control_groups(const std::string& controller) {
  std::ifstream stream("/proc/self/cgroup");
  std::vector<fs::path> folders;
  for (std::string line; std::getline(stream, line);) {  // ID:CONTROLLERS:PATH
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    const bool unified = controllers.empty();
    if (!unified && ("," + controllers + ",").find("," + controller + ",") == std::string::npos) continue;
    const fs::path root = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
    // In a container the path may be the host's, of which only the root is mounted.
    folders.push_back(root);
    fs::path folder = root;
    for (const auto& part : fs::path(path).relative_path()) folders.push_back(folder /= part);
  }
  return folders;
}

/// Bytes that the control groups leave to this process; nothing if they set no limit.
std::optional<double> memory_left_by_groups() {
  std::optional<double> left;
  for (const auto& folder : control_groups("memory"))
    for (const auto& [limit, used, cache] :
         {std::array{"memory.max", "memory.current", "inactive_file"}, std::array{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}}) {
      const auto most = number_in(folder / limit);
      if (!most || *most > 1e18) continue;
      const double room = *most - number_in(folder / used).value_or(0) + number_behind(folder / "memory.stat", cache).value_or(0);
      left = std::min(left.value_or(room), room);
    }
  return left;
}

Finding look_at_memory(const comm::World& world) {
  const auto kernel = [](const char* name) { return 1024 * number_behind("/proc/meminfo", name).value_or(0); };
  const double total = kernel("MemTotal:"), free = kernel("MemAvailable:");
  const auto allowed = memory_left_by_groups();
  const bool limited = allowed && *allowed < free;
  const double usable = limited ? *allowed : free, share = usable / world.local_size() / gib;
  Finding finding{.what = "memory", .margin = share};
  finding.found =
      fmt::format("{:.1f} GiB free of {:.1f}{}, {:.1f} a rank", usable / gib, total / gib, limited ? " within the control group's limit" : "", share);
  if (share < 2)
    worsen(finding, Health::note,
           limited ? "under 2 GiB per rank: ask for more memory (sbatch --mem, docker --memory), or start fewer ranks"
                   : "under 2 GiB per rank: start fewer ranks on this host");
  return finding;
}

Finding look_at_shared_memory(const comm::World& world) {
  struct statvfs space{};
  if (statvfs("/dev/shm", &space) != 0)
    return {.what = "shared memory", .found = "no /dev/shm", .mend = "ranks of a host exchange data through it: mount a tmpfs there", .health = Health::note};
  const double free = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize), needed = 64.0 * (1 << 20) * world.local_size();
  Finding finding{.what = "shared memory", .found = fmt::format("/dev/shm: {:.2f} GiB free", free / gib), .margin = free};
  if (free < needed)
    worsen(finding, Health::note,
           "under 64 MiB a rank, where Open MPI and NCCL keep buffers: enlarge it (docker --shm-size=1g), or remove what dead jobs have left there");
  return finding;
}

Finding look_at_devices(const comm::World& world) {
  const auto usable = static_cast<int>(torch::cuda::device_count());
  const auto present = names_in("/proc/driver/nvidia/gpus").size();
  const auto model = gpu_model();
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  Finding finding{.what = "devices", .margin = static_cast<double>(usable)};
  if (usable > 0) {
    finding.found = fmt::format("{} GPUs{}, {} ranks on this host", usable, model.empty() ? "" : " (" + model + ")", world.local_size());
    if (world.device().is_cpu()) worsen(finding, Health::bad, "ranks run on the CPU, because not each has a GPU of its own: start one rank a GPU");
    return finding;
  }
  finding.health = Health::note;
  finding.found = present > 0 ? fmt::format("{} GPUs that LibTorch cannot use{}; models run on the CPU", present, model.empty() ? "" : " (" + model + ")")
                              : "no GPU; models run on the CPU";
  if (present > 0 && visible && !*visible) finding.mend = "CUDA_VISIBLE_DEVICES is empty: unset it, or leave it so to run on the CPU";
  else if (present > 0 && !comm::has_nccl()) finding.mend = "this is a build for CPUs: build against a LibTorch with CUDA";
  else if (present > 0) worsen(finding, Health::bad, "the driver may be too old for this LibTorch (see nvidia-smi), or CUDA_VISIBLE_DEVICES names none");
  else if (comm::has_nccl()) finding.mend = "if there should be one: look at nvidia-smi, and at what the scheduler was asked for (--gpus-per-node)";
  return finding;
}

bool has_infiniband() { return !names_in("/sys/class/infiniband").empty(); }

/// Network interfaces by what the kernel says of them.
Finding look_at_links(const comm::World& world) {
  std::vector<std::string> links;
  double fastest = 0;  // Gbit/s
  bool down = false;
  for (const auto& name : names_in("/sys/class/infiniband"))
    for (const auto& port : names_in(fs::path("/sys/class/infiniband") / name / "ports")) {
      const auto folder = fs::path("/sys/class/infiniband") / name / "ports" / port;
      const bool active = first_line(folder / "state").find("ACTIVE") != std::string::npos;  // "4: ACTIVE"
      links.push_back(fmt::format("{} {} {}", name, first_line(folder / "rate"), active ? "active" : "down"));
      if (active) fastest = std::max(fastest, number_in(folder / "rate").value_or(0));
      else down = true;
    }
  for (const auto& name : names_in("/sys/class/net")) {
    const auto folder = fs::path("/sys/class/net") / name;
    if (name == "lo" || first_line(folder / "operstate") == "down") continue;
    const auto speed = number_in(folder / "speed");  // Mbit/s; unreadable or -1 where it means nothing
    links.push_back(speed && *speed > 0 ? fmt::format("{} {:g} Gb/s", name, *speed / 1000) : name);
    if (speed) fastest = std::max(fastest, *speed / 1000);
  }
  Finding finding{.what = "links", .found = links.empty() ? "none but this host's own" : fmt::format("{}", fmt::join(links, ", ")), .margin = fastest};
  const bool several_hosts = world.size() > world.local_size();
  if (down && several_hosts) worsen(finding, Health::note, "an InfiniBand port is down: traffic goes another way, or not at all");
  if (several_hosts && fastest > 0 && fastest < 10)
    worsen(finding, Health::note, "under 10 Gb/s: gradients may take longer than computing; see `syncdr plan train`");
  const bool direct = fs::exists("/sys/module/nvidia_peermem") || fs::exists("/sys/module/nv_peer_mem");
  if (has_infiniband() && world.device().is_cuda() && !direct)
    worsen(finding, Health::note, "GPUs may not reach InfiniBand directly: modprobe nvidia_peermem, unless the driver does without it (dma-buf)");
  return finding;
}

std::string limit_text(rlim_t value, double unit, const char* name) {
  return value == RLIM_INFINITY ? std::string("unlimited") : fmt::format("{:g}{}", std::floor(static_cast<double>(value) / unit * 10) / 10, name);
}

rlim_t soft_limit(__rlimit_resource what) {
  rlimit limit{};
  return getrlimit(what, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

Finding look_at_limits() {
  const auto files = soft_limit(RLIMIT_NOFILE), locked = soft_limit(RLIMIT_MEMLOCK), stack = soft_limit(RLIMIT_STACK), address = soft_limit(RLIMIT_AS);
  constexpr double mib = 1 << 20;
  Finding finding{.what = "limits", .margin = static_cast<double>(files)};
  finding.found =
      fmt::format("{} open files, {} locked memory, {} stack", limit_text(files, 1, ""), limit_text(locked, mib, " MiB"), limit_text(stack, mib, " MiB"));
  if (files < 1024) worsen(finding, Health::note, "few open files: a dataset of many shards may not open (ulimit -n 4096)");
  if (stack < 4 * mib) worsen(finding, Health::note, "a small stack (ulimit -s 8192)");
  if (has_infiniband() && locked < gib)
    worsen(finding, Health::bad, "InfiniBand must lock memory: ulimit -l unlimited (memlock in limits.conf, LimitMEMLOCK=infinity for slurmd)");
  if (address != RLIM_INFINITY) {
    finding.found += fmt::format(", {} address space", limit_text(address, gib, " GiB"));
    worsen(finding, Health::note, "an address space limit stops programs that reserve more than they use, as CUDA does (ulimit -v unlimited)");
  }
  return finding;
}

/// Tasks that the launcher started and MPI does not know: each of them believes to be a job of its own.
int64_t tasks_of_launcher() {
  int64_t tasks = 1;
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PALS_SIZE"})
    if (const char* value = std::getenv(name)) tasks = std::max<int64_t>(tasks, std::atoll(value));
  return tasks;
}

Finding look_at_mpi(const comm::World& world) {
  Finding finding{.what = "MPI", .found = comm::mpi_version(), .if_they_differ = "start all ranks with the same MPI library"};
  if (const auto tasks = tasks_of_launcher(); world.size() == 1 && tasks > 1) {
    finding.found += fmt::format("; one rank, where the launcher started {} tasks", tasks);
    worsen(finding, Health::bad,
           "MPI does not know the launcher: srun --mpi=pmix (srun --mpi=list shows what there is), or the mpirun of the MPI that syncdr is linked to");
  } else if (world.size() == 1) {
    finding.mend = "for several: mpirun -np N syncdr doctor";
  }
  return finding;
}

}  // namespace

std::optional<double> core_quota() {
  std::optional<double> least;
  for (const auto& folder : control_groups("cpu")) {
    std::istringstream both(first_line(folder / "cpu.max"));
    double quota = 0, period = 0;
    bool limited = static_cast<bool>(both >> quota >> period);
    if (!limited) {
      quota = number_in(folder / "cpu.cfs_quota_us").value_or(-1);
      period = number_in(folder / "cpu.cfs_period_us").value_or(0);
      limited = quota > 0;
    }
    if (limited && period > 0) least = std::min(least.value_or(quota / period), quota / period);
  }
  return least;
}

Findings look_at_host(const comm::World& world) {
  const std::string reinstall = "the ranks run different builds: use one that all hosts see, or install the same";
  Findings findings{{.what = "syncdr", .found = SYNCDR_VERSION, .if_they_differ = reinstall},
                    look_at_mpi(world),
                    {.what = "LibTorch",
                     .found = fmt::format("{}, {}", TORCH_VERSION, c10::impl::hasDeviceGuardImpl(c10::kCUDA) ? "with CUDA" : "for CPUs"),
                     .if_they_differ = reinstall},
                    {.what = "HDF5", .found = io::hdf5_version(), .if_they_differ = reinstall},
                    {.what = "processor",
                     .found = at::get_cpu_capability(),
                     .if_they_differ = "hosts with other instructions round differently: translations are equal bit for bit only among hosts of one kind"},
                    {.what = "collectives",
                     .found = fmt::format("{} in use, NCCL {}", world.backend(), comm::has_nccl() ? "built in" : "not built in"),
                     .mend = comm::has_nccl() ? "" : "for several GPUs build against a LibTorch with CUDA, and mend what CMake warns of then",
                     .health = comm::has_nccl() ? Health::good : Health::note}};
  if (world.local_rank() != 0) return findings;  // what follows is the host's
  for (auto& finding : {look_at_devices(world), look_at_links(world), look_at_memory(world), look_at_shared_memory(world), look_at_limits()})
    findings.push_back(finding);
  return findings;
}

}  // namespace syncdr::doctor
