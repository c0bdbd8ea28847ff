#include "syncdr/io/scratch.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/fill.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

#include "support/temporary_folder.h"

using namespace syncdr;
namespace fs = std::filesystem;

namespace {

/// TMPDIR for as long as it lives.
class TemporaryFilesIn {
 public:
  explicit TemporaryFilesIn(const fs::path& folder) : old_(getenv("TMPDIR") ? getenv("TMPDIR") : "") { setenv("TMPDIR", folder.c_str(), 1); }
  ~TemporaryFilesIn() { old_.empty() ? unsetenv("TMPDIR") : setenv("TMPDIR", old_.c_str(), 1); }

 private:
  std::string old_;
};

// Bytes of files with these names that this process has mapped.
int64_t mapped_from(const fs::path& folder) {
  std::ifstream maps("/proc/self/maps");
  int64_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(folder.string() + "/") == std::string::npos) continue;
    const size_t dash = line.find('-');
    bytes += std::stoll(line.substr(dash + 1), nullptr, 16) - std::stoll(line, nullptr, 16);
  }
  return bytes;
}

TEST(Scratch, LargeTensorsLieInAFileThatNobodySees) {
  const TemporaryFolder folder;
  const TemporaryFilesIn there(folder.path());
  {
    const auto small = io::scratch_tensor({1024, 4}, at::kFloat, 1 << 20);
    EXPECT_EQ(mapped_from(folder.path()), 0);
    auto large = io::scratch_tensor({1 << 16, 4}, at::kFloat, 1 << 20);
    EXPECT_EQ(mapped_from(folder.path()), 1 << 20);
    EXPECT_TRUE(fs::is_empty(folder.path()));
    const auto values = at::arange(large.numel(), at::kFloat).view(large.sizes());
    large.copy_(values);
    EXPECT_TRUE(large.equal(values));
    EXPECT_EQ(io::scratch_tensor({0, 4}, at::kLong, 0).numel(), 0);
  }
  EXPECT_EQ(mapped_from(folder.path()), 0);
}

TEST(Scratch, StaysInMemoryWhereThereIsNoRoom) {
  const TemporaryFolder folder;
  const auto in_file = [](int64_t rows) {
    auto tensor = io::scratch_tensor({rows, 1024}, at::kFloat, 0);
    at::fill_(tensor, 1);
    return tensor;
  };
  {
    const TemporaryFilesIn there(folder.path());
    // A file as large as this limit lets it be.
    struct rlimit before;
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small{1 << 20, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto large = in_file(1024), fits = in_file(256);
    EXPECT_EQ(mapped_from(folder.path()), 1 << 20) << "the second alone";
    EXPECT_EQ(large.numel(), 1024 * 1024);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
  const TemporaryFilesIn nowhere(folder / "missing");
  EXPECT_EQ(in_file(256).numel(), 256 * 1024);
}

}  // namespace
