#include "team.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <thread>

#include "syncdr/comm/launcher.h"
#include "syncdr/core/error.h"
#include "syncdr/core/parallel.h"

namespace syncdr::data_tools {
namespace {

/// Throws UsageError where several processes of a job were started as if each were alone: all would write the same files.
void refuse_strangers() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");  // of srun alone; SLURM_NTASKS is set in a batch script, too, where one process may well work
  if (tasks && std::atoi(tasks) > 1)
    throw core::UsageError("srun has started {} processes that do not know of each other. Start them by srun --mpi=pmix or mpirun, or one by srun -n 1", tasks);
}

}  // namespace

int64_t Team::threads() const { return world_ ? world_->threads(0) : core::usable_cores(); }

int64_t Team::add(const std::string& counter, int64_t value) {
  if (world_) return world_->add(counter, value, counter.c_str());
  const std::lock_guard lock(mutex_);
  return counters_[counter] += value;
}

/// Ranks that die or stop are missed by their signs of life.
void Team::wait_for(const std::string& counter, int64_t value) {
  auto pause = std::chrono::milliseconds(1);
  while (add(counter, 0) < value) {
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::milliseconds(200));
  }
}

void Team::together(const std::string& name, const std::function<void()>& work) {
  if (!world_) return work();
  world_->together(name.c_str(), [&] {
    const auto end = [&] {
      add(name + "/ended", 1);
      wait_for(name + "/ended", size());
    };
    try {
      work();
    } catch (...) {
      add(name + "/stop", 1);
      end();
      throw;
    }
    end();
  });
}

void Team::root_only(const std::string& name, const std::function<void()>& work) {
  if (!world_) return work();
  std::exception_ptr error;
  if (is_root()) {
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    add(name, 1);
  } else {
    wait_for(name, 1);
  }
  world_->root_only(name.c_str(), [&] {
    if (error) std::rethrow_exception(error);
  });
}

void run_in_team(const std::function<void(Team&)>& work) {
  if (!comm::started_as_rank()) {
    refuse_strangers();
    Team alone(nullptr);
    return work(alone);
  }
  comm::run_job({.device = "cpu"}, [&](comm::World& world) {
    Team team(&world);
    work(team);
    return core::ExitCode::done;
  });
}

}  // namespace syncdr::data_tools
