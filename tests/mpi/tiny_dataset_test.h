#pragma once
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "../unit/retrieval/tiny_dataset.h"
#include "mpi_test.h"
#include "syncdr/core/error.h"

/// What tests on several ranks share: a folder that all see, and a small dataset in it.
namespace syncdr::test {

/// A new folder made by rank 0, known to all ranks.
inline std::filesystem::path make_shared_folder() {
  std::string name;
  world().root_only("a folder", [&] {
    std::string pattern = testing::TempDir() + "syncdr-XXXXXX";
    name = mkdtemp(pattern.data());
  });
  return world().broadcast(name, 0, "the folder's name");
}

/// A file beside the running program, where the case with one rank leaves what those with more compare with.
inline std::filesystem::path beside_program(const std::string& program, const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / (program + "_reference") / name;
}

/// A TinyDataset in a folder of the test's own.
class TinyDatasetTest : public testing::Test {
 protected:
  explicit TinyDatasetTest(TinyDataset shape) : shape_(shape) {}
  void SetUp() override {
    folder_ = make_shared_folder();
    world().root_only("a dataset", [&] { shape_.write(folder_ / "data"); });
    dataset_ = std::make_unique<data::Dataset>(folder_ / "data");
  }
  void TearDown() override {
    world().barrier("end of a test");
    if (world().is_root()) std::filesystem::remove_all(folder_);
  }
  /// The message of the error that the call ends with on every rank, which must have this code.
  std::string error_of(core::ExitCode code, const std::function<void()>& call) {
    try {
      call();
    } catch (const core::Error& error) {
      world().barrier("all have failed");
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_;
  std::unique_ptr<data::Dataset> dataset_;

 private:
  TinyDataset shape_;
};

}  // namespace syncdr::test
