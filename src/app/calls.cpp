#include "calls.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "commit.h"
#include "syncdr/core/stop.h"
#include "syncdr/doctor/machine.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/claims.h"
#include "syncdr/io/json.h"
#include "syncdr/training/checkpoint.h"

namespace syncdr::app {
namespace {

namespace fs = std::filesystem;

/// Where a training stands, by its log: the last whole line's step. A broken log has its own readers, who say so.
int64_t last_step(const fs::path& log) {
  if (!fs::exists(log)) return 0;
  const std::string text = io::read_file(log);
  const size_t end = text.rfind('\n');
  if (end == std::string::npos || end == 0) return 0;
  const size_t before = text.rfind('\n', end - 1), first = before == std::string::npos ? 0 : before + 1;
  try {
    const auto line = io::parse_json(text.substr(first, end - first), log.string());
    return io::json_int(io::as_object(line, log.string()), "step", log.string());
  } catch (const core::DataError&) {
    return 0;
  }
}

/// Where a training goes on: a killed one has logged steps that it does again, from its newest checkpoint on.
int64_t resume_step(const fs::path& folder) {
  const int64_t logged = last_step(folder / "log.jsonl");
  if (const auto newest = training::Checkpoints(folder / "checkpoints").newest_step()) return std::min(logged, *newest);
  return fs::exists(folder / "done.json") ? logged : 0;
}

/// The folders of a phase's trainings, with step_of(folder).
std::map<fs::path, int64_t> steps_of(const Job& job, const Phase& phase, const std::string& subject, const std::function<int64_t(const fs::path&)>& step_of) {
  std::map<fs::path, int64_t> steps;
  for (const auto& mark : phase.marks(job, subject))
    if (mark.filename() == "done.json") steps[mark.parent_path()] = step_of(mark.parent_path());
  return steps;
}

/// Images of the batches that were trained on since then; nothing if no step was.
std::optional<int64_t> trained_images(const Job& job, const Phase& phase, const std::string& subject, const std::map<fs::path, int64_t>& before) {
  bool trained = false;
  int64_t images = 0;
  for (const auto& [folder, now] : steps_of(job, phase, subject, [](const fs::path& of) { return last_step(of / "log.jsonl"); })) {
    const int64_t steps = now - before.at(folder);
    if (steps <= 0) continue;
    trained = true;
    const auto done = folder / "done.json";
    if (!fs::exists(done)) continue;  // stopped before its end
    const auto record = io::read_json(done);
    const auto* each = io::as_object(record, done.string()).if_contains("images_per_step");
    if (each && each->is_int64()) images += steps * each->get_int64();
  }
  return trained ? std::optional(images) : std::nullopt;
}

/// Of all directions, what a translation's figures say.
int64_t translated_images(const boost::json::object& figures) {
  int64_t images = 0;
  for (const auto& item : figures) images += io::json_int(io::as_object(item.value(), "figures"), "images", "figures");
  return images;
}

}  // namespace

fs::path calls_folder(const Job& job) { return job.out / "calls"; }

evaluation::PhaseCall call_of(const Job& job, const std::string& phase, const std::string& subject, double seconds, int64_t images) {
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const std::time_t time = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&time, &utc);
  const auto& hosts = job.world.hosts();
  const std::set<std::string> distinct(hosts.begin(), hosts.end());
  const bool gpus = job.world.device().is_cuda();
  evaluation::PhaseCall call{
      .phase = phase,
      .subject = subject,
      .ended = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec),
      .seconds = seconds,
      .images = images,
      .ranks = job.world.size(),
      .threads = int64_t{at::get_num_threads()} * job.world.size(),
      .gpus = gpus ? job.world.size() : 0,
      .hosts = {distinct.begin(), distinct.end()},
      .processor = doctor::processor_model(),
      .gpu = gpus ? doctor::gpu_model() : ""};
  call.versions = {{"syncdr", SYNCDR_VERSION}, {"LibTorch", TORCH_VERSION}, {"MPI", comm::mpi_version()}};
  if (*built_commit) call.versions["commit"] = built_commit;
  return call;
}

boost::json::object run_noted(Job& job, const Phase& phase, const std::string& subject) {
  if (subject.empty()) return phase.run(job, subject);  // evaluating notes itself, before the report is written
  const auto start = std::chrono::steady_clock::now();
  std::map<fs::path, int64_t> before;
  job.world.root_only("looking where trainings stand", [&] { before = steps_of(job, phase, subject, resume_step); });
  const auto note = [&](std::optional<int64_t> images) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    job.world.root_only("noting the call", [&] {
      if (!before.empty()) images = trained_images(job, phase, subject, before);
      if (!images) return;
      // Jobs of an array call a phase at the same time.
      const auto file =
          calls_folder(job) / fmt::format("{}-{}-{}-{}.json", phase.name, Arm(subject).folder(), io::process_token(), start.time_since_epoch().count());
      io::write_json(file, to_json(call_of(job, phase.name, subject, seconds, *images)));
    });
  };
  try {
    auto figures = phase.run(job, subject);
    const int64_t translated = phase.name == "translate" && job.world.is_root() ? translated_images(figures) : 0;
    note(translated > 0 ? std::optional(translated) : std::nullopt);
    return figures;
  } catch (const core::StopRequested&) {  // on all ranks alike
    note(0);
    throw;
  }
}

}  // namespace syncdr::app
