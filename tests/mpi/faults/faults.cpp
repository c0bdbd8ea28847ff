// rooms: comm
// A rank that comes late, stops, throws or dies: what its peers do about it. expect.sh beside this checks exit code, message and time.
#include <torch/nn/modules/linear.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "syncdr/comm/gradient_reducer.h"
#include "syncdr/comm/work_queue.h"
#include "syncdr/comm/world.h"

using namespace syncdr;

namespace {

void stay_away() { std::this_thread::sleep_for(std::chrono::minutes(10)); }

/// A training step that the last rank leaves before its backward pass.
void step(comm::World& world, bool absent) {
  torch::nn::Linear net(300, 2000);
  comm::GradientReducer reducer(world, net->parameters());
  reducer.before_forward();
  auto loss = net->forward(torch::ones({1, 300})).sum();
  reducer.before_backward();
  if (absent) stay_away();
  loss.backward();
}

void misbehave(comm::World& world, const std::string& mode) {
  const bool last = world.rank() == world.size() - 1;
  if (mode == "late") {
    world.barrier("an operation before");
    if (last) stay_away();
    auto tensor = torch::ones({1000});
    world.all_reduce_sum(tensor, "sum of losses");
  } else if (mode == "elsewhere") {  // the last rank waits too, but a rank before it never came to what it waits for
    if (world.rank() == 1) stay_away();
    world.barrier("first meeting");
  } else if (mode == "stopped") {
    if (last) std::raise(SIGSTOP);
    world.barrier("meeting of all");
  } else if (mode == "stopped_early") {  // before the peers have met it even once
    if (world.is_root()) std::raise(SIGSTOP);
    world.barrier("meeting of all");
  } else if (mode == "stopped_root") {
    world.barrier("an operation before");
    if (world.is_root()) std::raise(SIGSTOP);
    world.barrier("meeting of all");
  } else if (mode == "claim") {
    world.barrier("an operation before");
    if (world.is_root()) std::raise(SIGSTOP);
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    comm::WorkQueue(world, "units", 10).claim();
  } else if (mode == "silent") {  // nobody waits for it, as while ranks translate
    world.barrier("an operation before");
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // a sign of life later
    if (last) std::raise(SIGSTOP);
    stay_away();
  } else if (mode == "silent_root") {
    world.barrier("an operation before");
    if (world.is_root()) std::raise(SIGSTOP);
    stay_away();
  } else if (mode == "step") {
    step(world, last);
  } else if (mode == "throws") {
    if (last) throw core::DataError("row 7 of the list is broken");
    world.barrier("meeting of all");
  } else if (mode == "all_throw") {
    throw core::DataError("row 7 of the list is broken");
  } else if (mode == "killed") {
    if (last) std::raise(SIGKILL);
    world.barrier("meeting of all");
  } else {
    SYNCDR_ASSERT(mode == "codes" || mode == "last_steps", "unknown mode {}", mode);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "last_steps") setenv("SYNCDR_FAULT", "stop,world.agreed,1,1", 1);
  const comm::CommConfig config{.device = "cpu", .deadline = 2};
  const auto last = [](const comm::World& world) { return world.rank() == world.size() - 1; };
  if (mode == "leaves") {
    comm::World world(config);
    return last(world) ? 0 : static_cast<int>(world.finish(core::ExitCode::done));  // World's destructor must not leave the peers waiting
  }
  return comm::run_job(config, [&](comm::World& world) {
    misbehave(world, mode);
    return mode == "codes" && last(world) ? core::ExitCode::requeue : core::ExitCode::done;
  });
}
