// rooms: translate
// One translation that ends too early: translate_killed.sh beside this runs it, and runs it again.
//   make ROOT                writes the data set
//   run ROOT                 translates it
//   kill ROOT RANK MICROS    ... with SIGKILL for one rank so many microseconds after it began
//   stop ROOT RANK CALL      ... with SIGTERM for one rank before its CALLth batch
#include <csignal>
#include <cstdio>
#include <thread>

#include "syncdr/core/error.h"
#include "syncdr/core/stop.h"
#include "translate_support.h"

using namespace syncdr;

namespace {

void translate_all(comm::World& world, const std::string& mode, const std::string& root, int rank, int64_t when) {
  test::NoisyTranslator translator;
  translator.before_call = [&](int call) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (mode == "stop" && world.rank() == rank && call == when) std::raise(SIGTERM);
  };
  auto config = test::noisy_config();
  config.unit_rows = 2;
  world.barrier("start");
  if (mode == "kill" && world.rank() == rank)
    std::thread([when] {
      std::this_thread::sleep_for(std::chrono::microseconds(when));
      std::raise(SIGKILL);
    }).detach();
  translate::translate_split(world, {data::Dataset(root), "Photo", "Drawing", "train"}, config, 7, translator);
}

int end(comm::World& world, core::ExitCode code) { return static_cast<int>(world.finish(code)); }

int work(const std::string& mode, const std::string& root, int rank, int64_t when) {
  if (mode == "make") {
    test::make_dataset(root);
    return 0;
  }
  core::watch_stop_signals("none");
  comm::World world({.device = "cpu", .deadline = 30});
  try {
    translate_all(world, mode, root, rank, when);
  } catch (const core::Error& error) {
    if (world.is_root()) std::fprintf(stderr, "%s\n", error.what());
    return end(world, error.code());
  }
  return end(world, core::ExitCode::done);
}

}  // namespace

int main(int argc, char** argv) {
  return core::run_main([&] { return argc < 3 ? 2 : work(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 0, argc > 4 ? std::atoll(argv[4]) : 0); });
}
