#include "syncdr/training/checkpoint_writer.h"


namespace syncdr::training {
namespace {

using namespace std::chrono_literals;

/// What training changes next must not reach the disk.
void copy_tensors(Checkpoint& checkpoint) {
  for (auto& [name, tensor] : checkpoint.tensors)
    tensor = tensor.detach().to(at::TensorOptions().device(at::kCPU), /*non_blocking=*/false, /*copy=*/true);
}

}  // namespace

CheckpointWriter::CheckpointWriter(comm::World& world, std::filesystem::path folder, int64_t keep) : world_(world), folder_(std::move(folder), keep) {
  world_.root_only("opening the folder of checkpoints", [&] { folder_.open(); });
}

CheckpointWriter::~CheckpointWriter() = default;  // a future of std::async waits for its thread

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

void CheckpointWriter::save(const std::function<Checkpoint()>& make) {
  finish();
  world_.root_only("copying a checkpoint", [&] {
    auto checkpoint = make();
    copy_tensors(checkpoint);
    writing_ = std::async(std::launch::async, [this, checkpoint = std::move(checkpoint)]() mutable {
      const Checkpoint saved = std::move(checkpoint);  // its memory goes when it is written, not with the next one
      folder_.save(saved);
    });
  });
}

}  // namespace syncdr::training
