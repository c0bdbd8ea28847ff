// How many units a second ranks can claim: from the job's counter in rank 0's store, and from files that jobs share.
//   launch/mpirun.sh -np 2 build/release/bin/claims FOLDER
#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "syncdr/comm/work_queue.h"
#include "syncdr/comm/world.h"
#include "syncdr/io/claims.h"

using namespace syncdr;

namespace {

/// Things done by all ranks per second; each does `count`.
template <class Work> double rate(comm::World& world, int64_t count, Work&& work) {
  world.barrier("start");
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < count; ++i) work(i);
  world.barrier("end");
  return static_cast<double>(count * world.size()) / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  return comm::run_job({.device = "cpu"}, [&](comm::World& world) {
    const std::filesystem::path folder = argc > 1 ? argv[1] : ".";
    comm::WorkQueue queue(world, "bench", int64_t{1} << 40);
    const double queued = rate(world, 50'000, [&](int64_t) { queue.claim(); });
    io::Claims claims(folder, "bench", std::chrono::seconds(60));
    const double filed = rate(world, 5'000, [&](int64_t i) {
      const auto name = fmt::format("bench-{}-{}", world.rank(), i);
      claims.take(name);
      claims.release(name);
    });
    if (world.is_root())
      fmt::print("{} ranks: {:.0f} claims/s from the store, {:.0f} claim files/s taken and released in {}\n", world.size(), queued, filed, folder.string());
    return core::ExitCode::done;
  });
}
