#include <ATen/ops/full.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <thread>

#include "findings.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/file.h"
#include "syncdr/io/hdf5.h"

namespace syncdr::doctor {
namespace {

namespace fs = std::filesystem;

constexpr auto patience_for_names = std::chrono::seconds(40);  // NFS remembers for 30 s by default that a name was not there
constexpr const char* elsewhere = "choose another file system with --folder";

/// What work throws, in words; empty: nothing. So a rank that cannot go on still meets its peers.
std::string error_of(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// work's finding, or a bad one of what it throws.
Finding attempt(const std::string& what, const std::string& mend, const std::function<Finding()>& work) {
  Finding finding;
  if (const auto error = error_of([&] { finding = work(); }); !error.empty()) return {.what = what, .found = error, .mend = mend, .health = Health::bad};
  return finding;
}

[[noreturn]] void refuse(const fs::path& path, const char* what) { throw core::IoError("{}: {}: {}", path.string(), what, std::strerror(errno)); }

/// What the probes share. All ranks walk through them in step; what a rank does alone is attempted, so that it comes to the next step in any case.
struct FolderProbe {
  comm::World& world;
  fs::path folder, probe;
  bool made_folder = false;
  fs::path own(const char* name) const { return probe / fmt::format("{}-{}", name, world.rank()); }
  void step() const { world.barrier("looking at the folder"); }
  int64_t sum(int64_t value) const {
    auto tensor = at::full({1}, value, at::kLong);
    world.all_reduce_sum(tensor, "looking at the folder");
    return tensor.item<int64_t>();
  }
  bool everywhere(bool here) const { return sum(here ? 0 : 1) == 0; }
};

const char* name_of_type(int64_t magic) {
  static const std::map<int64_t, const char*> names{{0x6969, "NFS"},         {0x0BD00BD0, "Lustre"},   {0x47504653, "GPFS"},  {0x19830326, "BeeGFS"},
                                                    {0x00C36400, "Ceph"},    {0x20030528, "OrangeFS"}, {0xAAD7AAEA, "PanFS"}, {0x5346414F, "AFS"},
                                                    {0xFF534D42, "CIFS"},    {0xFE534D42, "SMB"},      {0x65735546, "FUSE"},  {0x01021997, "9P"},
                                                    {0x794C7630, "overlay"}, {0x01021994, "tmpfs"},    {0x858458F6, "ramfs"}, {0xEF53, "ext4"},
                                                    {0x58465342, "XFS"},     {0x9123683E, "Btrfs"},    {0x2FC12FC1, "ZFS"},   {0xF2F52010, "F2FS"}};
  const auto found = names.find(magic);
  return found == names.end() ? nullptr : found->second;
}

/// Type, room and age of the file system, as this host mounts it.
Finding look_at_file_system(const FolderProbe& on) {
  struct statfs system{};
  struct statvfs space{};
  if (::statfs(on.folder.c_str(), &system) != 0 || ::statvfs(on.folder.c_str(), &space) != 0) refuse(on.folder, "cannot be looked at");
  const auto magic = static_cast<int64_t>(static_cast<uint32_t>(system.f_type));
  const char* type = name_of_type(magic);
  const double free = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize) / (1 << 30);
  Finding finding{.what = "folder", .margin = free};
  finding.found = fmt::format("{}: {}, {:.1f} GiB free", on.folder.string(), type ? type : fmt::format("a file system of type {:#x}", magic), free);
  if (space.f_files > 0) finding.found += fmt::format(", {} more files", space.f_favail);
  if (free < 1) worsen(finding, Health::note, "under 1 GiB: make room, or choose another with --folder");
  if (space.f_files > 0 && space.f_favail < 10000) worsen(finding, Health::note, "few more files can be made (inodes): remove some, or ask for a larger quota");
  const std::string name = type ? type : "";
  if (name == "tmpfs" || name == "ramfs") worsen(finding, Health::note, "it lies in memory and ends with the host: copy results elsewhere");
  if (name == "overlay") worsen(finding, Health::note, "it ends with the container: mount a folder of the host for results");
  return finding;
}

/// Writes as syncdr does (fsync, rename, fsync of the folder), reads back, and once more by HDF5.
Finding try_writing(const FolderProbe& on) {
  const auto start = Clock::now();
  io::write_file(on.own("file"), "probe");
  const double seconds = seconds_since(start);
  if (io::read_file(on.own("file")) != "probe") throw core::IoError("{}: gives back other bytes than were written", on.own("file").string());
  return {.what = "writing", .found = fmt::format("write, fsync, rename and read back: {:.1f} ms", 1e3 * seconds), .margin = -seconds};
}

Finding try_hdf5(const FolderProbe& on) {
  std::vector<int64_t> values(1000);
  std::iota(values.begin(), values.end(), 0);
  io::AtomicFile file(on.own("hdf5"));
  io::Hdf5Writer writer(file.temporary());
  writer.write("/probe/values", values);
  writer.attribute("format", std::string("probe"));
  writer.close();
  file.commit();
  const io::Hdf5Reader reader(on.own("hdf5"));
  if (reader.read<int64_t>("/probe/values") != values || reader.string_attribute("format") != "probe")
    throw core::IoError("{}: HDF5 gives back other values than were written", on.own("hdf5").string());
  return {.what = "HDF5 files", .found = "written and read back"};
}

/// How far the clock that stamps files is from this host's. syncdr compares stamps for equality alone, people do not.
Finding look_at_clock(const FolderProbe& on) {
  io::write_file(on.own("clock"), "probe");
  struct stat status{};
  if (::stat(on.own("clock").c_str(), &status) != 0) refuse(on.own("clock"), "cannot be looked at");
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const double ahead = static_cast<double>(status.st_mtim.tv_sec - now.tv_sec) + 1e-9 * static_cast<double>(status.st_mtim.tv_nsec - now.tv_nsec);
  Finding finding{.what = "clock", .margin = -std::abs(ahead)};
  finding.found = fmt::format("stamps of files within {:.3g} s of this host's clock", std::max(0.01, std::abs(ahead)));
  if (std::abs(ahead) > 1)
    worsen(finding, Health::note, "harmless for syncdr, confusing for make and people: let all hosts follow one clock (chronyc tracking)");
  return finding;
}

/// Waits until condition holds; the seconds it took, nothing if it never did.
std::optional<double> wait_until(const std::function<bool()>& condition) {
  const auto start = Clock::now();
  while (!condition()) {
    if (Clock::now() - start > patience_for_names) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return seconds_since(start);
}

/// When the other ranks see a file that rank 0 has made, under a name that they have looked for in vain, and its new content after a rename.
Finding try_visibility(const FolderProbe& on) {
  const auto file = on.probe / "seen";
  struct stat status{};
  ::stat(file.c_str(), &status);  // a client may remember that it was not there
  const auto write = [&](const char* content) {
    if (on.world.is_root()) error_of([&] { io::write_file(file, content); });
    on.step();
  };
  const auto holds = [&](const std::string& content) {
    return wait_until([&] {
      std::string read;
      error_of([&] { read = io::read_file(file); });
      return read == content;
    });
  };
  on.step();
  write("first");
  const auto made = holds("first");
  on.step();
  write("second");
  const auto replaced = holds("second");
  Finding finding{.what = "one view"};
  if (!made || !replaced) {
    finding.found =
        fmt::format("rank {} does not see what rank 0 has {} within {} s", on.world.rank(), made ? "replaced" : "written", patience_for_names.count());
    worsen(finding, Health::bad, "all ranks need the same file system, without such long caches (NFS: mount with lookupcache=positive, actimeo=3)");
    return finding;
  }
  const double delay = std::max(*made, *replaced);
  finding.found = fmt::format("what rank 0 writes is seen by all within {:.3g} ms", std::max(1.0, 1e3 * delay));
  finding.margin = -delay;
  if (delay > 1) worsen(finding, Health::note, "late: claims and resumed runs wait for it (NFS: mount with lookupcache=positive, actimeo=3)");
  return finding;
}

/// Two threads of every rank race for the same names, many times: exactly one may win each. try_once: 0 if won, else the system's reason.
Finding try_race(const FolderProbe& on, const char* what, const char* won_by, const std::function<int(int round)>& try_once) {
  constexpr int rounds = 16;
  int64_t several = 0, nobody = 0;
  int reason = 0;
  for (int round = 0; round < rounds; ++round) {
    std::atomic<int64_t> won{0};
    std::atomic<int> refused{0};
    const auto race = [&] {
      const int error = try_once(round);
      if (error == 0) ++won;
      else if (error != EEXIST) refused = error;
    };
    on.step();
    {
      std::jthread other(race);
      race();
    }
    const auto winners = on.sum(won);
    several += winners > 1;
    nobody += winners < 1;
    if (refused != 0) reason = refused;
  }
  Finding finding{.what = what};
  if (several == 0 && nobody == 0) {
    finding.found = fmt::format("{} of {} wins, in each of {} races", won_by, 2 * on.world.size(), rounds);
    return finding;
  }
  finding.health = Health::bad;
  finding.found =
      reason != 0 ? fmt::format("refused: {}", std::strerror(reason)) : fmt::format("of {} races {} had several winners and {} none", rounds, several, nobody);
  return finding;
}

Finding try_exclusive_creation(const FolderProbe& on) {
  auto finding = try_race(on, "exclusive", "O_EXCL: one", [&](int round) {
    const int made = ::open((on.probe / fmt::format("exclusive-{}", round)).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (made < 0) return errno;
    ::close(made);
    return 0;
  });
  if (finding.health == Health::bad) finding.mend = fmt::format("two jobs could make the same unit and lose one another's work: {}", elsewhere);
  return finding;
}

Finding try_links(const FolderProbe& on) {
  auto finding = try_race(on, "hard links", "link: one",
                          [&](int round) { return ::link(on.own("file").c_str(), (on.probe / fmt::format("link-{}", round)).c_str()) == 0 ? 0 : errno; });
  if (finding.health != Health::bad) return finding;
  const bool refused = finding.found.starts_with("refused");
  if (refused) finding.health = Health::note;
  finding.mend = refused ? "without hard links a finished unit is sealed by a rename: do not let two jobs translate the same set at once"
                         : fmt::format("one job could replace what another has sealed: {}", elsewhere);
  return finding;
}

/// Rank 0 replaces a file again and again while all ranks read it: each must see one whole content or the other.
Finding try_renames(const FolderProbe& on) {
  const auto file = on.probe / "replaced";
  const std::string contents[] = {std::string(4000, 'a'), std::string(4000, 'b')};
  const auto replace = [&](int turn) {
    const auto next = on.probe / "replaced.next";
    io::OutputFile out(next);
    out.write(contents[turn % 2]);
    out.close();
    fs::rename(next, file);
  };
  std::string refused;  // of the thread that replaces
  if (on.world.is_root()) refused = error_of([&] { replace(0); });
  on.step();
  int64_t missing = 0, mixed = 0;
  {
    std::jthread replacing;
    if (on.world.is_root() && refused.empty())
      replacing = std::jthread([&] {
        refused = error_of([&] {
          for (int turn = 1; turn < 200; ++turn) replace(turn);
        });
      });
    for (int reading = 0; reading < 400; ++reading) try {
        const auto content = io::read_file(file);
        mixed += content != contents[0] && content != contents[1];
      } catch (const core::Error&) {
        ++missing;
      }
  }
  on.step();
  if (!refused.empty()) return {.what = "renames", .found = refused, .mend = elsewhere, .health = Health::bad};
  Finding finding{.what = "renames", .found = "replace a file at once: 400 readings saw it whole"};
  if (mixed > 0) {
    finding = {.what = "renames", .found = fmt::format("of 400 readings {} saw a mixed content", mixed), .mend = elsewhere, .health = Health::bad};
  } else if (missing > 0) {
    finding.found = fmt::format("of 400 readings of a file that is being replaced {} failed", missing);
    worsen(finding, Health::note, "syncdr reads such files (manifests) only when nobody writes them; other programs may not");
  }
  return finding;
}

/// flock between ranks: rank 0 holds a lock that the others try to get. syncdr does without locks; other programs that read its files may not.
Finding try_locks(const FolderProbe& on) {
  const int own = ::open((on.probe / "lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  int reason = own < 0 ? errno : 0;
  if (on.world.is_root() && reason == 0 && ::flock(own, LOCK_EX | LOCK_NB) != 0) reason = errno;
  on.step();
  bool got = false;
  if (!on.world.is_root() && reason == 0) {
    got = ::flock(own, LOCK_SH | LOCK_NB) == 0;
    if (!got && errno != EWOULDBLOCK) reason = errno;
  }
  on.step();
  if (own >= 0) ::close(own);
  Finding finding{.what = "locks", .found = on.world.size() == 1 ? "flock works; between ranks it was not tried" : "flock keeps other ranks out"};
  if (reason == 0 && !got) return finding;
  finding.found = got ? "flock does not keep other ranks out" : fmt::format("flock: {}", std::strerror(reason));
  worsen(finding, Health::note, "syncdr does not need it; other programs that use HDF5 may want HDF5_USE_FILE_LOCKING=FALSE");
  return finding;
}

/// What the folder takes when all ranks write and fsync at once, in GB/s.
Finding try_throughput(const FolderProbe& on) {
  constexpr size_t bytes = 8 << 20;
  const std::vector<uint8_t> content(bytes, 1);
  on.step();
  const auto start = Clock::now();
  auto finding = attempt("throughput", elsewhere, [&] {
    io::OutputFile out(on.own("bulk"));
    out.write(content);
    out.close();
    io::sync_path(on.own("bulk"));
    return Finding{.what = "throughput"};
  });
  on.step();
  if (finding.health == Health::bad) return finding;
  const double rate = 1e-9 * static_cast<double>(bytes) * on.world.size() / seconds_since(start);
  finding.found = fmt::format("8 MiB from each rank: {:.3g} GB/s together, with fsync", rate);
  return finding;
}

/// Rank 0 makes a folder for the probes; returns what went wrong, on every rank.
std::string make_probe(FolderProbe& on) {
  std::string error, name;
  if (on.world.is_root())
    error = error_of([&] {
      on.made_folder = !fs::exists(on.folder);
      std::error_code failed;
      fs::create_directories(on.folder, failed);
      if (failed) throw core::IoError("{}: cannot be made: {}", on.folder.string(), failed.message());
      std::string pattern = (on.folder / ".syncdr-doctor-XXXXXX").string();
      if (!::mkdtemp(pattern.data())) refuse(on.folder, "cannot be written to");
      name = fs::path(pattern).filename().string();
      fs::permissions(pattern, fs::perms::all);
    });
  error = on.world.broadcast(error, 0, "making a folder for probes");
  on.probe = on.folder / on.world.broadcast(name, 0, "making a folder for probes");
  return error;
}

void clean_up(const FolderProbe& on) {
  on.step();
  if (!on.world.is_root()) return;
  std::error_code error;
  fs::remove_all(on.probe, error);
  if (on.made_folder) fs::remove(on.folder, error);
}

Findings probe_folder(const FolderProbe& on) {
  Findings findings;
  const auto keep = [&](Finding finding) { findings.push_back(std::move(finding)); };
  const auto seen = wait_until([&] {
    std::error_code ignored;
    return fs::is_directory(on.probe, ignored);
  });
  if (!seen)
    keep({.what = "folder",
          .found = fmt::format("{} is another folder here than on rank 0's host", on.folder.string()),
          .mend = "all ranks need the same file system: name a shared one with --folder",
          .health = Health::bad});
  if (!on.everywhere(seen.has_value())) return findings;

  if (on.world.local_rank() == 0) keep(attempt("folder", elsewhere, [&] { return look_at_file_system(on); }));
  keep(attempt("writing", "give this user the right to write there, or choose another with --folder", [&] { return try_writing(on); }));
  if (!on.everywhere(findings.back().health != Health::bad)) return findings;

  const auto exclusive = try_exclusive_creation(on), links = try_links(on);
  if (on.world.is_root()) {
    keep(exclusive);
    keep(links);
  }
  keep(try_renames(on));
  keep(try_visibility(on));
  keep(try_locks(on));
  keep(attempt("HDF5 files", elsewhere, [&] { return try_hdf5(on); }));
  if (on.world.local_rank() == 0) keep(attempt("clock", elsewhere, [&] { return look_at_clock(on); }));
  if (const auto rate = try_throughput(on); on.world.is_root() || rate.health != Health::good) keep(rate);
  return findings;
}

}  // namespace

Findings look_at_folder(comm::World& world, const fs::path& folder) {
  FolderProbe on{.world = world, .folder = fs::absolute(folder), .probe = {}};
  if (const auto error = make_probe(on); !error.empty()) {
    if (!world.is_root()) return {};
    return {{.what = "folder", .found = error, .mend = "give this user the right to write there, or choose another with --folder", .health = Health::bad}};
  }
  auto findings = probe_folder(on);
  clean_up(on);
  return findings;
}

}  // namespace syncdr::doctor
