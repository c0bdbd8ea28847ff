#include "syncdr/io/claims.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <thread>

#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

using namespace syncdr;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

/// Runs work in a child that is killed behind it.
void in_killed_child(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
}

void write(const fs::path& file, const std::string& text) { std::ofstream(file) << text; }

/// A claim as a process of another machine leaves it.
void foreign_claim(const fs::path& file) { write(file, "0123456789ab-77-88\nrank 0 of 1 on elsewhere\n"); }

TEST(Claims, OneProcessHoldsANameUntilItReleasesIt) {
  const TemporaryFolder folder;
  io::Claims first(folder.path(), "first", 60s), second(folder.path(), "second", 60s);
  EXPECT_TRUE(first.take("unit"));
  EXPECT_FALSE(second.take("unit"));
  EXPECT_TRUE(second.take("other"));
  first.release("unit");
  EXPECT_TRUE(second.take("unit"));
}

TEST(Claims, AreReleasedWhenTheirOwnerGoes) {
  const TemporaryFolder folder;
  {
    EXPECT_TRUE(io::Claims(folder.path(), "me", 60s).take("unit"));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Claims, OfAProcessOfThisMachineThatIsGoneAreDeadAtOnce) {
  const TemporaryFolder folder;
  in_killed_child([&] {
    static io::Claims claims(folder.path(), "the late", 60s);
    claims.take("unit");
  });
  io::ClaimedFolder view(folder.path(), 60s);
  const auto claim = view.look().claims.at("unit");
  EXPECT_TRUE(claim.dead);
  EXPECT_EQ(view.owner_of("unit", claim), "the late");
  io::Claims claims(folder.path(), "heir", 60s);
  EXPECT_FALSE(claims.take("unit", 0)) << "its generation stays taken";
  EXPECT_TRUE(claims.take("unit", claim.generation + 1));
  EXPECT_FALSE(view.look().claims.at("unit").dead);
  claims.release("unit");
  EXPECT_TRUE(fs::is_empty(folder.path())) << "the dead one's claim goes too";
}

TEST(Claims, ThatAreThereAlwaysSayWhoseTheyAre) {
  const TemporaryFolder folder;
  std::atomic<bool> over{false};
  std::jthread owner([&] {
    io::Claims claims(folder.path(), "me", 60s);
    while (!over) {
      claims.take("unit");
      claims.release("unit");
    }
  });
  std::string token = io::process_token();
  for (int seen = 0; seen < 2'000 && token == io::process_token();) {
    std::ifstream claim(folder / "unit.claim-0");
    if (!claim.is_open()) continue;
    std::getline(claim, token);
    ++seen;
  }
  over = true;
  EXPECT_EQ(token, io::process_token());
}

TEST(Claims, ALivingOneIsNotDeadWhateverItsTimeStampSays) {
  const TemporaryFolder folder;
  io::Claims claims(folder.path(), "me", 60s);
  ASSERT_TRUE(claims.take("unit"));
  io::ClaimedFolder view(folder.path(), 60s);
  for (const auto shift : {-2h, 2h}) {
    fs::last_write_time(folder / "unit.claim-0", fs::file_time_type::clock::now() + shift);
    std::this_thread::sleep_for(5ms);
    EXPECT_FALSE(view.look().claims.at("unit").dead);
  }
}

TEST(Claims, OfAProcessOfThisMachineThatWasStoppedAreDeadAfterTheTimeout) {
  const TemporaryFolder folder;
  write(folder / "unit.claim-0", io::process_token() + "\nrank 0 of 1 here\n");  // nobody touches it
  io::ClaimedFolder view(folder.path(), 50ms);
  EXPECT_FALSE(view.look().claims.at("unit").dead);
  std::this_thread::sleep_for(60ms);
  EXPECT_TRUE(view.look().claims.at("unit").dead);
}

TEST(Claims, OfAnotherMachineAreDeadOnceTheirFileDoesNotChangeForTheTimeout) {
  const TemporaryFolder folder;
  foreign_claim(folder / "unit.claim-0");
  foreign_claim(folder / "alive.claim-3");
  fs::last_write_time(folder / "unit.claim-0", fs::file_time_type::clock::now() + 2h);  // its clock is wrong
  io::ClaimedFolder view(folder.path(), 200ms);
  for (int look = 0; look < 4; ++look) {
    const auto claims = view.look().claims;
    EXPECT_FALSE(claims.at("unit").dead && look == 0);
    EXPECT_FALSE(claims.at("alive").dead);
    EXPECT_EQ(claims.at("alive").generation, 3);
    std::this_thread::sleep_for(100ms);
    fs::last_write_time(folder / "alive.claim-3", fs::file_time_type::clock::now() - 2h);
  }
  EXPECT_TRUE(view.look().claims.at("unit").dead);
}

TEST(Claims, AreTouchedWhileTheyAreHeld) {
  const TemporaryFolder folder;
  io::Claims claims(folder.path(), "me", 120ms);
  ASSERT_TRUE(claims.take("unit"));
  const auto before = fs::last_write_time(folder / "unit.claim-0");
  std::this_thread::sleep_for(200ms);
  EXPECT_GT(fs::last_write_time(folder / "unit.claim-0"), before);
}

TEST(Claims, ADeadOneIsTakenOverByOneProcessAlone) {
  const TemporaryFolder folder;
  foreign_claim(folder / "unit.claim-0");
  std::atomic<int> won{0};
  std::vector<std::unique_ptr<io::Claims>> claims;
  for (int i = 0; i < 8; ++i) claims.push_back(std::make_unique<io::Claims>(folder.path(), "heir", 60s));
  {
    std::vector<std::jthread> threads;
    for (auto& one : claims) threads.emplace_back([&] { won += one->take("unit", 1); });
  }
  EXPECT_EQ(won, 1);
}

TEST(Claims, AnOwnerLearnsThatItWasTakenOver) {
  const TemporaryFolder folder;
  io::Claims owner(folder.path(), "suspended", 60s), heir(folder.path(), "heir", 60s);
  ASSERT_TRUE(owner.take("unit"));
  EXPECT_FALSE(owner.lost("unit"));
  ASSERT_TRUE(heir.take("unit", 1));
  EXPECT_TRUE(owner.lost("unit"));
  EXPECT_FALSE(heir.lost("unit"));
  EXPECT_TRUE(heir.lost("never taken"));
}

TEST(Claims, InAFolderThatIsGoneAreAnIoError) {
  const TemporaryFolder folder;
  io::Claims claims(folder / "gone", "me", 60s);
  EXPECT_THROW(claims.take("unit"), core::IoError);
  EXPECT_THROW(io::ClaimedFolder(folder / "gone", 60s).look(), core::IoError);
}

TEST(ClaimedFolder, RemovesWhatTheDeadHaveLeftAndNothingElse) {
  const TemporaryFolder folder;
  in_killed_child([&] {
    static io::Claims claims(folder.path(), "the late", 60s);
    claims.take("sealed");
    write(folder / ("half." + io::process_token() + ".tmp"), "half");
  });
  write(folder / "sealed", "content");
  write(folder / "half.tmp", "without a token");
  const auto own = "own." + io::process_token() + ".tmp";
  const std::string foreign = "foreign.0123456789ab-77-88.tmp";
  write(folder / own, "being written");
  write(folder / foreign, "being written elsewhere");
  write(folder / "done", "content");
  write(folder / "done.0123456789ab-77-88.tmp", "of a process whose claim is gone");
  write(folder / "held", "damaged");
  foreign_claim(folder / "held.claim-0");
  const std::string again = "held.0123456789ab-77-88.tmp";
  write(folder / again, "being made again elsewhere");
  const auto view = io::ClaimedFolder(folder.path(), 60s).look();
  EXPECT_EQ(view.files, (std::set<std::string>{"done", "held", "sealed"}));
  EXPECT_FALSE(view.claims.contains("sealed")) << "killed between sealing and releasing";
  std::set<std::string> left;
  for (const auto& file : fs::directory_iterator(folder.path())) left.insert(file.path().filename());
  EXPECT_EQ(left, (std::set<std::string>{"done", "held", "held.claim-0", "sealed", again, foreign, own}));
}

TEST(ClaimedFolder, RemovesClaimsThatWereNeverFinished) {
  const TemporaryFolder folder;
  in_killed_child([&] { write(folder / ("unit.claim-0.0." + io::process_token() + ".tmp"), ""); });
  const auto own = "unit.claim-0.0." + io::process_token() + ".tmp";
  const std::string foreign = "unit.claim-0.0.0123456789ab-77-88.tmp";
  write(folder / own, "being written");
  write(folder / foreign, "being written elsewhere");
  io::ClaimedFolder view(folder.path(), 100ms);
  EXPECT_TRUE(view.look().claims.empty()) << "none of them is a claim yet";
  std::set<std::string> left;
  for (const auto& file : fs::directory_iterator(folder.path())) left.insert(file.path().filename());
  EXPECT_EQ(left, (std::set<std::string>{own, foreign}));
  std::this_thread::sleep_for(150ms);
  view.look();
  EXPECT_FALSE(fs::exists(folder / foreign)) << "its host is gone";
}

TEST(ProcessToken, TellsWhetherAProcessOfThisMachineHasEnded) {
  EXPECT_EQ(io::has_ended(io::process_token()), false);
  const auto token = io::process_token();
  EXPECT_EQ(io::has_ended(token + "1"), true) << "its id is another process's now";
  EXPECT_EQ(io::has_ended("0123456789ab-1-1"), std::nullopt);
  for (const auto* text : {"", "a", "a-b", "a-b-c", "--"}) EXPECT_EQ(io::has_ended(text), std::nullopt) << text;
}

TEST(AtomicFile, CommitUnlessThereNeverReplaces) {
  const TemporaryFolder folder;
  EXPECT_TRUE(io::write_new_file(folder / "file", "first", "a-1-1"));
  EXPECT_FALSE(io::write_new_file(folder / "file", "second", "b-2-2"));
  EXPECT_EQ(io::read_file(folder / "file"), "first");
  {
    io::AtomicFile taken(folder / "other", "c-3-3");
    write(taken.temporary(), "text");
    fs::remove(taken.temporary());
    EXPECT_FALSE(taken.commit_unless_there()) << "somebody has removed the temporary";
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << "no temporary is left";
}

}  // namespace
