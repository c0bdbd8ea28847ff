#include "syncdr/io/atomic_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/file.h"

using namespace syncdr;
namespace fs = std::filesystem;

namespace {

TEST(AtomicFile, IsAbsentUntilCommittedAndLeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  {
    io::AtomicFile file(folder / "a/b");
    io::OutputFile(file.temporary()).write("text");
    EXPECT_FALSE(fs::exists(folder / "a/b"));
  }
  EXPECT_TRUE(fs::is_empty(folder / "a"));
  io::write_file(folder / "a/b", "text");
  EXPECT_EQ(io::read_file(folder / "a/b"), "text");
  EXPECT_FALSE(fs::exists(folder / "a/b.tmp"));
}

TEST(AtomicFile, KilledBeforeCommitKeepsTheOldContent) {
  const TemporaryFolder folder;
  io::write_file(folder / "file", "old");
  const pid_t child = fork();
  if (child == 0) {
    io::AtomicFile file(folder / "file");
    io::OutputFile out(file.temporary());
    out.write("half of the ne");
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(io::read_file(folder / "file"), "old");
  EXPECT_TRUE(fs::exists(folder / "file.tmp"));
  io::write_file(folder / "file", "new");  // takes the left-over away
  EXPECT_EQ(io::read_file(folder / "file"), "new");
  EXPECT_FALSE(fs::exists(folder / "file.tmp"));
}

TEST(AtomicFile, FullDiskIsAnIoErrorAndKeepsTheOldContent) {
  const TemporaryFolder folder;
  io::write_file(folder / "file", "old");
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    try {
      io::write_file(folder / "file", std::string(5000, 'x'));
    } catch (const core::IoError& error) {
      _exit(std::string(error.what()).find("file.tmp: writing failed") != std::string::npos ? 7 : 8);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(io::read_file(folder / "file"), "old");
  EXPECT_FALSE(fs::exists(folder / "file.tmp"));
}

TEST(ReadFile, RefusesMissingLargeAndOtherThanRegularFiles) {
  const TemporaryFolder folder;
  io::write_file(folder / "file", "12345");
  EXPECT_ERROR(io::read_file(folder / "file", 4), core::DataError, "has 5 bytes, at most 4");
  EXPECT_ERROR(io::read_file(folder / "none"), core::DataError, "No such file");
  EXPECT_ERROR(io::read_file(folder.path()), core::DataError, "no regular file");
}

TEST(InputFile, ReadingPastTheEndIsAnError) {
  const TemporaryFolder folder;
  io::write_file(folder / "file", "12345");
  const io::InputFile file(folder / "file");
  std::vector<uint8_t> into(3);
  file.read_at(2, into);
  EXPECT_EQ(into, (std::vector<uint8_t>{'3', '4', '5'}));
  EXPECT_ERROR(file.read_at(3, into), core::DataError, "ends at byte 5");
  EXPECT_THROW(file.read_at(~uint64_t{0}, into), core::DataError);
  fs::resize_file(folder / "file", 1);  // cut under an open reader: a message, not SIGBUS
  EXPECT_ERROR(file.read_at(2, into), core::DataError, "cut short");
}

TEST(PathInside, RefusesWhatLeavesItsRoot) {
  EXPECT_EQ(io::path_inside("/data", "a/./b.png", "f"), fs::path("/data/a/b.png"));
  EXPECT_EQ(io::path_inside("/data", "a/b..png", "f"), fs::path("/data/a/b..png"));
  for (const char* bad : {"", "/etc/passwd", "..", "a/../../b", "a/..", "../data/a"}) EXPECT_THROW(io::path_inside("/data", bad, "f"), core::DataError) << bad;
  EXPECT_ERROR(io::path_inside("/data", "../x", "list.txt:3"), core::DataError, "list.txt:3: \"../x\"");
  EXPECT_THROW(io::path_inside("/data", std::string("a\0b", 3), "f"), core::DataError);
}

}  // namespace
