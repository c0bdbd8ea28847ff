#include "syncdr/training/checkpoint.h"

#include <boost/json/array.hpp>
#include <charconv>
#include <functional>
#include <map>
#include <set>
#include <system_error>

#include "syncdr/core/error.h"
#include "syncdr/core/fault.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/json.h"

namespace syncdr::training {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace std::chrono_literals;

constexpr const char* format_name = "syncdr-checkpoint";
constexpr int64_t format_version = 1;
constexpr const char* content_files[] = {"state.json", "tensors.safetensors"};

// The N of "step-N"; nothing for other names, temporary ones among them.
std::optional<int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with("step-")) return std::nullopt;
  int64_t step = -1;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + 5, end, step);
  if (error != std::errc() || rest != end || step < 0) return std::nullopt;
  return step;
}

// Newest first.
std::map<int64_t, fs::path, std::greater<>> checkpoints_in(const fs::path& folder) {
  std::map<int64_t, fs::path, std::greater<>> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (const auto step = step_of(entry->path())) found.emplace(*step, entry->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) throw core::IoError("{}: cannot be listed: {}", folder.string(), error.message());
  return found;
}

void retire(const io::SoleWriter& writer, const fs::path& checkpoint) {
  core::fault_point("checkpoint.before_remove", checkpoint.native());
  writer.remove(checkpoint);
}

json::object manifest_of(const fs::path& folder, int64_t step) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  json::array files;
  for (const std::string& name : names) files.push_back({{"name", name}, {"hash", io::hash_file(folder / name)}});
  return {{"format", format_name}, {"version", format_version}, {"step", step}, {"files", std::move(files)}};
}

void write_checkpoint(const fs::path& folder, const Checkpoint& checkpoint) {
  io::write_safetensors(folder / "tensors.safetensors", checkpoint.tensors);
  io::write_json(folder / "state.json", checkpoint.state);
  core::fault_point("checkpoint.before_fsync", folder.native());
  // Last: what has a manifest whose hashes are right is whole.
  io::write_json(folder / "manifest.json", manifest_of(folder, checkpoint.step));
}

void verify(const fs::path& folder, int64_t step) {
  const std::string where = (folder / "manifest.json").string();
  const json::value document = io::read_json(folder / "manifest.json");
  const json::object& manifest = io::as_object(document, where);
  if (io::json_string(manifest, "format", where) != format_name) throw core::DataError("{}: is no manifest of a checkpoint", where);
  if (const int64_t version = io::json_int(manifest, "version", where); version != format_version) {
    throw core::DataError("{}: version {}, this program reads {}", where, version, format_version);
  }
  if (const int64_t named = io::json_int(manifest, "step", where); named != step) throw core::DataError("{}: is of step {}", where, named);
  const json::array& files = io::json_array(manifest, "files", where);
  std::set<std::string> names;
  for (const json::value& item : files) {
    const json::object& file = io::as_object(item, where);
    const std::string name = io::json_string(file, "name", where), hash = io::hash_file(io::path_inside(folder, name, where));
    if (hash != io::json_string(file, "hash", where)) {
      throw core::DataError("{}: its content has changed since it was written (hash {})", (folder / name).string(), hash);
    }
    names.insert(name);
  }
  for (const char* name : content_files) {
    if (!names.contains(name)) throw core::DataError("{}: does not list {}", where, name);
  }
}

Checkpoint read_checkpoint(const fs::path& folder, int64_t step) {
  verify(folder, step);
  Checkpoint checkpoint{.step = step, .tensors = io::read_safetensors(folder / "tensors.safetensors").tensors};
  const json::value state = io::read_json(folder / "state.json");
  checkpoint.state = io::as_object(state, (folder / "state.json").string());
  return checkpoint;
}

}  // namespace

Checkpoints::Checkpoints(fs::path folder, int64_t keep) : folder_(std::move(folder)), keep_(keep) {
  if (keep < 2) throw core::UsageError("{} checkpoints kept: at least 2 are needed, the newest may be damaged", keep);
}

void Checkpoints::open() { writer_ = std::make_unique<io::SoleWriter>(folder_); }

const io::SoleWriter& Checkpoints::writer() {
  if (!writer_) open();
  return *writer_;
}

fs::path Checkpoints::desk_of(int64_t step) { return writer().desk() / fmt::format("step-{}", step); }

void Checkpoints::save(const Checkpoint& checkpoint) {
  SYNCDR_ASSERT(checkpoint.step >= 0, "a checkpoint of step {}", checkpoint.step);
  const std::string name = fmt::format("step-{}", checkpoint.step);
  const fs::path path = folder_ / name;
  write_checkpoint(desk_of(checkpoint.step), checkpoint);
  core::fault_point("checkpoint.before_rename", path.native());
  if (fs::exists(path)) retire(writer(), path);
  writer().seal(name, path);
  core::fault_point("checkpoint.after_rename", path.native());

  int64_t kept = 0;
  for (const auto& [step, other] : checkpoints_in(folder_)) {
    // Later steps belong to a history that this run did not go on from: they were damaged, and must not be found by the next resume.
    const bool later = step > checkpoint.step;
    if (later) core::warn("{}: removed, the run went on from an earlier step", other.string());
    if (later || kept == keep_) {
      retire(writer(), other);
    } else {
      ++kept;
    }
  }
}

std::optional<Checkpoint> Checkpoints::latest() const {
  for (const auto& [step, path] : checkpoints_in(folder_)) {
    try {
      return read_checkpoint(path, step);
    } catch (const core::Error& error) {
      core::warn("checkpoint {} is damaged and passed over: {}", path.string(), error.what());
    }
  }
  return std::nullopt;
}

std::optional<int64_t> Checkpoints::newest_step() const {
  const auto found = checkpoints_in(folder_);
  return found.empty() ? std::nullopt : std::optional(found.begin()->first);
}

CheckpointWriter::CheckpointWriter(comm::World& world, fs::path folder) : world_(world), folder_(std::move(folder)) {
  world_.root_only("opening the folder of checkpoints", [&] { folder_.open(); });
}

void CheckpointWriter::finish() {
  // In short waits: a slow disk must not look like a rank that does not come.
  for (bool written = false; !written;) {
    world_.root_only("waiting until a checkpoint is written", [&] {
      written = !writing_.valid() || writing_.wait_for(500ms) == std::future_status::ready;
      if (written && writing_.valid()) writing_.get();
    });
    written = world_.any(written, "agreeing whether a checkpoint is written");
  }
}

void CheckpointWriter::save(int64_t step, const std::function<void(const fs::path&)>& parts, const std::function<Checkpoint()>& make) {
  finish();
  std::string desk;
  world_.root_only("naming a checkpoint's folder", [&] { desk = folder_.desk_of(step).string(); });
  desk = world_.broadcast(desk, 0, "a checkpoint's folder");
  world_.together("writing parts of a checkpoint", [&] { parts(desk); });
  world_.root_only("copying a checkpoint", [&] {
    auto checkpoint = make();
    checkpoint.tensors = copies_of(checkpoint.tensors);  // what training changes next must not reach the disk
    writing_ = std::async(std::launch::async, [this, checkpoint = std::move(checkpoint)]() mutable {
      const Checkpoint saved = std::move(checkpoint);  // its memory goes when it is written, not with the next one
      folder_.save(saved);
    });
  });
}

io::NamedTensors copies_of(const io::NamedTensors& tensors) {
  io::NamedTensors copies;
  for (const auto& [name, tensor] : tensors)
    copies.emplace(name, tensor.detach().to(at::TensorOptions().device(at::kCPU), /*non_blocking=*/false, /*copy=*/true));
  return copies;
}

io::NamedTensors take_prefix(const io::NamedTensors& tensors, const std::string& prefix) {
  io::NamedTensors taken;
  for (auto item = tensors.lower_bound(prefix); item != tensors.end() && item->first.starts_with(prefix); ++item) {
    taken.emplace(item->first.substr(prefix.size()), item->second);
  }
  return taken;
}

void put_prefix(io::NamedTensors& into, const io::NamedTensors& tensors, const std::string& prefix) {
  for (const auto& [name, tensor] : tensors) {
    SYNCDR_ASSERT(into.emplace(prefix + name, tensor).second, "tensor {}{} is there twice", prefix, name);
  }
}

}  // namespace syncdr::training
