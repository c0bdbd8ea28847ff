#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

/// Claims on files of a shared folder, for processes that share nothing else: jobs that do not know each other, on several hosts, on NFS.
///
/// A claim on NAME is the file NAME.claim-G beside it; G = 0, 1, ... is its generation, and the highest one counts. It is taken by linking a
/// finished file to that name, which is atomic on NFS too. Its owner touches it while it lives. A claim whose file does not change during `timeout` of the
/// watcher's own clock is dead; so is, at once, that of a process of this machine that no longer runs. A dead claim is taken over by creating the
/// next generation, which only one process can do. Time stamps are compared with themselves alone, so no two clocks need to agree.
///
/// An owner that was stopped for longer than the timeout and goes on does not know that it has lost its claim. So what a claim guards must stay
/// right if two do it: AtomicFile::commit_unless_there.
namespace syncdr::io {

using Milliseconds = std::chrono::milliseconds;

/// Marks this process among those of all hosts, in names of files: MACHINE-PID-START, MACHINE a hash of the boot and the process namespace.
std::string process_token();
/// Whether the process of a token has ended; nothing if it is of another machine or no token.
std::optional<bool> has_ended(const std::string& token);

/// This process's claims in one folder. May be used from several threads.
class Claims {
 public:
  /// owner: who holds the claims, for people. timeout: after which others may take them over; they are touched six times as often.
  Claims(std::filesystem::path folder, std::string owner, Milliseconds timeout);
  /// Releases what is held.
  ~Claims();

  /// False if another process holds this generation or a later one. Throws IoError when the system refuses.
  bool take(const std::string& name, int64_t generation = 0);
  /// Removes the claim, and those it was taken over from.
  void release(const std::string& name);
  /// Whether somebody has taken over or removed what this process took.
  bool lost(const std::string& name) const;

 private:
  std::filesystem::path path_of(const std::string& name, int64_t generation) const;
  void keep_alive(const std::stop_token& stop);

  const std::filesystem::path folder_;
  const std::string owner_;
  const Milliseconds interval_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::map<std::string, int64_t> held_;  ///< name -> generation
  std::jthread thread_;
};

/// What lies in a folder of claimed files, as seen by one process that looks again and again.
class ClaimedFolder {
 public:
  ClaimedFolder(std::filesystem::path folder, Milliseconds timeout) : folder_(std::move(folder)), timeout_(timeout) {}

  struct Claim {
    int64_t generation = 0;
    bool dead = false;
  };
  struct View {
    std::set<std::string> files;          ///< neither claims nor temporaries
    std::map<std::string, Claim> claims;  ///< by the name claimed
  };
  /// Removes what the dead have left: temporaries, and claims on files that are there; and temporaries of files that are there and claimed by nobody.
  /// Throws IoError if the folder cannot be listed.
  View look();
  /// What a claim says of its owner.
  std::string owner_of(const std::string& name, const Claim& claim) const;

 private:
  bool is_dead(const std::string& file, const std::string& token);

  struct Seen {
    int64_t changed = 0;  ///< time of modification in nanoseconds, as the file system says
    std::chrono::steady_clock::time_point since;
  };
  const std::filesystem::path folder_;
  const Milliseconds timeout_;
  std::map<std::string, Seen> seen_;  ///< by file
};

}  // namespace syncdr::io
