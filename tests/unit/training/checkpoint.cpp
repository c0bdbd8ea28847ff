#include "syncdr/training/checkpoint.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/safetensors.h"

namespace {

// Counts down over the calls that change a file system; at 0 the process dies there, as if killed between two of them. A write dies half-way.
int calls_to_live = -1;

bool dies_now() { return calls_to_live >= 0 && calls_to_live-- == 0; }
void die() { kill(getpid(), SIGKILL); }

}  // namespace

// These stand before the C library's in the whole program, the standard library's calls included.
extern "C" {
ssize_t write(int descriptor, const void* bytes, size_t count) {
  const bool last = dies_now();
  const ssize_t written = syscall(SYS_write, descriptor, bytes, last ? count / 2 : count);
  if (last) die();
  return written;
}
int fsync(int descriptor) {
  if (dies_now()) die();
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}
int rename(const char* from, const char* to) noexcept {
  if (dies_now()) die();
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  if (dies_now()) die();
  return static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, 0));
}
int unlinkat(int folder, const char* name, int flags) noexcept {
  if (dies_now()) die();
  return static_cast<int>(syscall(SYS_unlinkat, folder, name, flags));
}
}

using namespace syncdr;
using training::Checkpoint;
using training::Checkpoints;
namespace fs = std::filesystem;

namespace {

Checkpoint make_checkpoint(int64_t step) {
  Checkpoint checkpoint{.step = step};
  checkpoint.tensors["model.weight"] = at::full({2, 3}, static_cast<double>(step));
  checkpoint.tensors["optimizer.0.step"] = at::scalar_tensor(step, at::kLong);
  checkpoint.state = {{"best", 0.1 + 0.2}, {"position", step * 7}, {"config", "epochs = 15"}};
  return checkpoint;
}

// Without what somebody writes there.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() != ".tmp") names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

bool is_exactly(const std::optional<Checkpoint>& checkpoint, int64_t step) {
  if (!checkpoint || checkpoint->step != step) return false;
  const Checkpoint expected = make_checkpoint(step);
  if (checkpoint->state != expected.state || checkpoint->tensors.size() != expected.tensors.size()) return false;
  for (const auto& [name, tensor] : expected.tensors) {
    if (!checkpoint->tensors.contains(name) || !checkpoint->tensors.at(name).equal(tensor)) return false;
  }
  return true;
}

void save_two(const fs::path& folder) {
  fs::remove_all(folder);
  Checkpoints checkpoints(folder);
  checkpoints.save(make_checkpoint(1));
  checkpoints.save(make_checkpoint(2));
}

// Saves in a child that dies at the given call. True if the child lived to its end.
bool save_and_die(const fs::path& folder, int64_t step, int calls) {
  const pid_t child = fork();
  if (child == 0) {
    calls_to_live = calls;
    Checkpoints(folder).save(make_checkpoint(step));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void flip_bit(const fs::path& file, int64_t byte) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(byte);
  const char changed = static_cast<char>(stream.get() ^ 4);
  stream.seekp(byte);
  stream.put(changed);
}

}  // namespace

TEST(Checkpoints, GivesBackExactlyWhatWasSaved) {
  const TemporaryFolder folder;
  Checkpoints checkpoints(folder.path() / "checkpoints");
  EXPECT_FALSE(checkpoints.latest());
  checkpoints.save(make_checkpoint(0));
  EXPECT_TRUE(is_exactly(checkpoints.latest(), 0));
  checkpoints.save(make_checkpoint(12));
  EXPECT_TRUE(is_exactly(Checkpoints(folder.path() / "checkpoints").latest(), 12));
  EXPECT_THAT(names_in(folder.path() / "checkpoints" / "step-12"), testing::ElementsAre("manifest.json", "state.json", "tensors.safetensors"));
}

TEST(Checkpoints, KeepsTheNewestByNumberNotByName) {
  const TemporaryFolder folder;
  Checkpoints two(folder.path()), three(folder.path(), 3);
  for (const int64_t step : {8, 9, 10}) three.save(make_checkpoint(step));
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("step-10", "step-8", "step-9"));
  two.save(make_checkpoint(11));
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("step-10", "step-11"));
  EXPECT_THROW(Checkpoints(folder.path(), 1), core::UsageError);
}

TEST(Checkpoints, ReplacesACheckpointOfTheSameStep) {
  const TemporaryFolder folder;
  Checkpoints checkpoints(folder.path());
  Checkpoint other = make_checkpoint(5);
  other.state["best"] = 7;
  checkpoints.save(other);
  checkpoints.save(make_checkpoint(5));
  EXPECT_TRUE(is_exactly(checkpoints.latest(), 5));
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("step-5"));
}

TEST(Checkpoints, PartsThatRanksLeaveOnTheDeskBelongToIt) {
  const TemporaryFolder folder;
  for (const bool removed : {false, true}) {
    Checkpoints checkpoints(folder.path());
    checkpoints.save(make_checkpoint(1));
    for (const char* name : {"bank.0.0-4.safetensors", "bank.0.4-8.safetensors"}) {
      io::write_safetensors(checkpoints.desk_of(2) / name, {{"rows", at::ones({4, 2})}});
    }
    checkpoints.save(make_checkpoint(2));
    EXPECT_TRUE(is_exactly(checkpoints.latest(), 2));
    EXPECT_THAT(names_in(folder.path() / "step-2"), testing::IsSupersetOf({"bank.0.0-4.safetensors", "bank.0.4-8.safetensors"}));
    const fs::path part = folder.path() / "step-2" / "bank.0.4-8.safetensors";
    if (removed) {
      fs::remove(part);
    } else {
      flip_bit(part, static_cast<int64_t>(fs::file_size(part)) - 3);
    }
    EXPECT_TRUE(is_exactly(checkpoints.latest(), 1)) << (removed ? "removed" : "changed");
  }
}

TEST(Checkpoints, KilledAtAnyCallThePreviousOneOrTheNewOneIsWhole) {
  const TemporaryFolder folder;
  save_two(folder.path());
  bool finished = false, seen_old = false, seen_new = false;
  int calls = 0;
  for (; !finished; ++calls) {
    ASSERT_LT(calls, 200) << "the child never got to its end";
    finished = save_and_die(folder.path(), 3, calls);
    const auto latest = Checkpoints(folder.path()).latest();
    const bool is_old = is_exactly(latest, 2), is_new = is_exactly(latest, 3);
    EXPECT_TRUE(is_old || is_new) << "killed at call " << calls;
    EXPECT_TRUE(is_new || !finished);
    seen_old |= is_old;
    seen_new |= is_new && !finished;
    // Back to the state before, unless that is what the kill left.
    if (is_new) save_two(folder.path());
  }
  EXPECT_TRUE(seen_old && seen_new) << "kills before and after the rename";
  EXPECT_GT(calls, 15) << "three files: each written, synced, renamed, its folder synced";
}

TEST(Checkpoints, KilledWhileItReplacesTheSameStepAnOlderOneIsLeft) {
  const TemporaryFolder folder;
  bool finished = false;
  for (int calls = 0; !finished; ++calls) {
    ASSERT_LT(calls, 200);
    save_two(folder.path());
    finished = save_and_die(folder.path(), 2, calls);
    const auto latest = Checkpoints(folder.path()).latest();
    EXPECT_TRUE(is_exactly(latest, 1) || is_exactly(latest, 2)) << "killed at call " << calls;
  }
}

TEST(Checkpoints, LeftOversOfKilledRunsGoWithTheNextSave) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / "step-7.tmp");
  io::write_file(folder.path() / "step-7.tmp" / "tensors.safetensors", "half");
  fs::create_directories(folder.path() / "step-3.old.tmp");
  EXPECT_FALSE(Checkpoints(folder.path()).latest()) << "a temporary folder is no checkpoint";
  Checkpoints(folder.path()).save(make_checkpoint(9));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Checkpoints, AWriterThatCameBeforeAnotherNeitherReplacesNorRemovesAnything) {
  const TemporaryFolder folder;
  Checkpoints late(folder.path()), other(folder.path());
  late.save(make_checkpoint(1));
  other.open();
  other.save(make_checkpoint(2));
  other.save(make_checkpoint(3));
  Checkpoint changed = make_checkpoint(3);
  changed.state["best"] = 7;
  for (const auto& checkpoint : {make_checkpoint(1), changed, make_checkpoint(4)}) EXPECT_THROW(late.save(checkpoint), core::UsageError);
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("step-2", "step-3"));
  EXPECT_TRUE(is_exactly(other.latest(), 3));
  other.save(make_checkpoint(5));
  EXPECT_TRUE(is_exactly(late.latest(), 5));
}

TEST(Checkpoints, AnyFlippedBitOfTheContentIsNoticedAndTheOlderOneTaken) {
  const TemporaryFolder folder;
  Checkpoints checkpoints(folder.path());
  checkpoints.save(make_checkpoint(1));
  checkpoints.save(make_checkpoint(2));
  for (const char* name : {"tensors.safetensors", "state.json"}) {
    const fs::path file = folder.path() / "step-2" / name;
    for (int64_t byte = 0; byte < static_cast<int64_t>(fs::file_size(file)); ++byte) {
      flip_bit(file, byte);
      testing::internal::CaptureStderr();
      EXPECT_TRUE(is_exactly(checkpoints.latest(), 1)) << name << " byte " << byte;
      EXPECT_THAT(testing::internal::GetCapturedStderr(), testing::HasSubstr("step-2"));
      flip_bit(file, byte);
    }
  }
  EXPECT_TRUE(is_exactly(checkpoints.latest(), 2));
}

TEST(Checkpoints, ADamagedManifestNeverYieldsOtherContent) {
  const TemporaryFolder folder;
  Checkpoints checkpoints(folder.path());
  checkpoints.save(make_checkpoint(1));
  checkpoints.save(make_checkpoint(2));
  const fs::path file = folder.path() / "step-2" / "manifest.json";
  testing::internal::CaptureStderr();
  for (int64_t byte = 0; byte < static_cast<int64_t>(fs::file_size(file)); ++byte) {
    flip_bit(file, byte);
    const auto latest = checkpoints.latest();
    EXPECT_TRUE(is_exactly(latest, 1) || is_exactly(latest, 2)) << byte;
    flip_bit(file, byte);
  }
  testing::internal::GetCapturedStderr();
}

TEST(Checkpoints, AFolderUnderAnotherStepsNameIsPassedOver) {
  const TemporaryFolder folder;
  Checkpoints checkpoints(folder.path());
  checkpoints.save(make_checkpoint(1));
  fs::copy(folder.path() / "step-1", folder.path() / "step-50", fs::copy_options::recursive);
  fs::create_directories(folder.path() / "step-60");
  fs::create_directories(folder.path() / "step-1x");
  EXPECT_TRUE(is_exactly(checkpoints.latest(), 1));
}

TEST(Checkpoints, ASaveForgetsTheLaterStepsItDidNotGoOnFrom) {
  const TemporaryFolder folder;
  Checkpoints checkpoints(folder.path());
  checkpoints.save(make_checkpoint(10));
  checkpoints.save(make_checkpoint(20));
  fs::remove(folder.path() / "step-20" / "state.json");
  EXPECT_TRUE(is_exactly(checkpoints.latest(), 10));
  checkpoints.save(make_checkpoint(15));
  EXPECT_TRUE(is_exactly(checkpoints.latest(), 15));
  EXPECT_THAT(names_in(folder.path()), testing::ElementsAre("step-10", "step-15"));
}

TEST(Prefix, IsTakenAndPutBack) {
  const io::NamedTensors tensors{{"a", at::zeros({1})}, {"b.c", at::ones({1})}};
  io::NamedTensors all{{"modela", at::zeros({2})}};
  training::put_prefix(all, tensors, "model.");
  training::put_prefix(all, tensors, "ema.");
  EXPECT_EQ(all.size(), 5u);
  const io::NamedTensors back = training::take_prefix(all, "model.");
  ASSERT_EQ(back.size(), 2u);
  EXPECT_TRUE(back.at("b.c").is_same(tensors.at("b.c")));
  EXPECT_TRUE(training::take_prefix(all, "bank.").empty());
  EXPECT_THROW(training::put_prefix(all, tensors, "ema."), core::BugError);
}
