#include <ATen/Parallel.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "findings.h"
#include "syncdr/comm/gradient_reducer.h"
#include "syncdr/plan/plan.h"

namespace syncdr::doctor {
namespace {

/// Convolutions that this rank's device makes in a second.
double convolutions_a_second(const c10::Device& device) {
  const auto options = at::TensorOptions(at::kFloat).device(device);
  const auto images = at::full({4, 64, 64, 64}, 0.5, options), weights = at::full({64, 64, 3, 3}, 0.01, options);
  const auto make = [&] { return at::conv2d(images, weights, {}, 1, 1)[0][0][0][0].item<float>(); };
  make();
  const auto start = Clock::now();
  int64_t made = 0;
  while (seconds_since(start) < 0.2) make(), ++made;
  return static_cast<double>(made) / seconds_since(start);
}

}  // namespace

Findings look_at_cores(comm::World& world) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(0, sizeof(mask), &mask);
  const auto masks = world.gather(std::string(reinterpret_cast<const char*>(&mask), sizeof(mask)), "gathering the cores of the ranks");
  const auto threads_of = world.gather(std::to_string(at::get_num_threads()), "gathering the threads of the ranks");
  if (world.local_rank() != 0) return {};

  cpu_set_t cores;
  CPU_ZERO(&cores);
  int64_t threads = 0, fewest = CPU_SETSIZE;
  for (size_t rank = 0; rank < masks.size(); ++rank) {
    if (world.hosts()[rank] != world.host()) continue;
    threads += std::stoll(threads_of[rank]);
    std::memcpy(&mask, masks[rank].data(), sizeof(mask));
    CPU_OR(&cores, &cores, &mask);
    fewest = std::min<int64_t>(fewest, CPU_COUNT(&mask));
  }
  const int64_t usable = CPU_COUNT(&cores), online = sysconf(_SC_NPROCESSORS_ONLN);
  const char* asked = std::getenv("OMP_NUM_THREADS");
  Finding finding{.what = "cores", .margin = static_cast<double>(usable - threads)};
  finding.found = fmt::format("{} of {} on {} of {} cores{}", count_of(threads, "thread"), count_of(world.local_size(), "rank"), usable, online,
                              asked ? fmt::format(", OMP_NUM_THREADS={}", asked) : "");
  if (const auto quota = core_quota(); quota && *quota < static_cast<double>(threads)) {
    finding.found += fmt::format(", of which the control group allows the time of {:g}", *quota);
    worsen(finding, Health::note, "threads are halted again and again: set OMP_NUM_THREADS lower, or ask for more cores");
  }
  if (threads > usable) {
    worsen(finding, Health::note,
           fewest == 1 && usable < online ? "ranks share cores that they are bound to: mpirun --bind-to none, or srun --cpus-per-task=N"
                                          : "more threads than cores: set OMP_NUM_THREADS lower, or start fewer ranks");
  } else if (fewest < online / world.local_size() && fewest == 1 && online > 1) {
    worsen(finding, Health::note, "each rank is bound to one core and others are idle: mpirun --map-by slot:PE=N or --bind-to none, srun --cpus-per-task=N");
  } else if (2 * threads <= usable && asked) {
    worsen(finding, Health::note, "half the cores or more would be idle: raise or unset OMP_NUM_THREADS, or start more ranks");
  }
  return {finding};
}

Findings look_at_messages(comm::World& world) {
  if (world.size() == 1) return {};
  constexpr auto bytes = comm::GradientReducer::bucket_bytes;
  const auto mean_seconds = [&](int64_t elements, int times) {
    auto tensor = at::zeros({elements}, at::TensorOptions(at::kFloat).device(world.device()));
    for (int i = 0; i < 2; ++i) world.all_reduce_sum(tensor, "warming up");
    const auto finished = [&] { return tensor.flatten()[0].item<float>(); };  // a GPU works behind the host's back
    finished();
    world.barrier("measuring messages");
    const auto start = Clock::now();
    for (int i = 0; i < times; ++i) world.all_reduce_sum(tensor, "measuring messages");
    finished();
    return seconds_since(start) / times;
  };
  const double empty = mean_seconds(1, 200), full = mean_seconds(bytes / 4, 8);
  constexpr int calls = 200;
  const auto start = Clock::now();
  for (int i = 0; i < calls; ++i) world.add("doctor/calls", 1, "measuring the store");
  const double call = seconds_since(start) / calls;
  const auto slowest_call_us = world.all_reduce_max(std::llround(1e6 * call), "the slowest rank's store");
  if (!world.is_root()) return {};

  const std::string how = world.backend() == "nccl" ? "halving" : "binomial";
  const auto link = plan::link_of(how, world.size(), empty, full, static_cast<double>(bytes));
  Finding messages{.what = "all-reduce", .found = fmt::format("{} ranks: 4 bytes in {:.3g} us, 25 MiB in {:.3g} ms", world.size(), 1e6 * empty, 1e3 * full)};
  messages.mend = fmt::format("for `syncdr plan train`: --latency-us {:.3g} --bandwidth-gb {:.3g} --all-reduce {}", link.latency_us, link.bandwidth_gb, how);
  messages.figures = {
      {"latency_us", link.latency_us}, {"bandwidth_gb", link.bandwidth_gb}, {"all_reduce", how}, {"ranks", world.size()}, {"empty_seconds", empty},
      {"bucket_seconds", full}};
  Finding store{.what = "store", .found = fmt::format("a call to rank 0's counters takes up to {} us", slowest_call_us)};
  if (slowest_call_us > 20000) worsen(store, Health::note, "slow: ranks claim their work there. Look at rank 0's host and its network");
  return {messages, store};
}

Findings look_at_speed(comm::World& world) {
  const bool several = world.all_reduce_max(world.local_size(), "looking for hosts of several ranks") > 1;
  if (!several) return {};
  double alone = 0, together = 0;
  for (int round = 0; round < 3; ++round) {  // the best of several: other programs disturb the rest
    world.barrier("computing alone");
    if (world.local_rank() == 0) alone = std::max(alone, convolutions_a_second(world.device()));
    else std::this_thread::sleep_for(std::chrono::milliseconds(300));
    world.barrier("computing together");
    together = std::max(together, convolutions_a_second(world.device()));
  }
  if (world.local_rank() != 0 || world.local_size() == 1) return {};
  const double slowdown = std::max(1.0, alone / together);
  Finding finding{.what = "speed",
                  .found = fmt::format("a rank computes {:.2f} times as long when all {} of its host compute", slowdown, world.local_size()),
                  .margin = -slowdown};
  if (slowdown >= 1.5) worsen(finding, Health::note, "ranks take cores or memory from each other: fewer ranks with more threads may do as much");
  finding.figures = {{"slowdown", slowdown}, {"ranks_per_node", world.local_size()}};
  return {finding};
}

}  // namespace syncdr::doctor
