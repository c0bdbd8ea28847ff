#pragma once
// Without the C++ bindings that MPI 3 removed: they would need a library of their own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

/// The one thread that calls MPI. Private to comm.
namespace syncdr::comm {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Requests = std::vector<MPI_Request>;

/// Names the collectives that this thread starts while it lives, for the message of a missed deadline.
class Naming {
 public:
  explicit Naming(const char* what);
  ~Naming();
  Naming(const Naming&) = delete;
  Naming& operator=(const Naming&) = delete;
  static std::string current(const char* otherwise);
};

/// What every rank learns when MPI starts.
struct Layout {
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  ///< among the ranks of this host
  int ranks_on_my_cores = 1;           ///< ranks of this host with the same affinity mask, this one included
  std::vector<std::string> hosts;      ///< of each rank

  const std::string& host(int of) const { return hosts[static_cast<size_t>(of)]; }
  std::string place(int of) const { return fmt::format("rank {} ({})", of, host(of)); }
};

/// The series of waits for the store itself: rank 0 is who has not come.
inline constexpr const char* store_series = "store";

/// Something that waits for peers: what a deadline needs to know.
struct Awaited {
  std::string name;
  std::string series;         ///< sequence numbers are compared within a series: "mpi", "nccl", "store"
  int64_t sequence = 0;       ///< the same on every rank for the same operation of a series
  Milliseconds limit{0};      ///< how long it may last
  bool sign_of_life = false;  ///< says nothing of what this rank is at
  Clock::time_point begun = Clock::now();
  bool posted = false;
};

/// One collective. The MPI thread starts it, completes it and keeps its buffers alive meanwhile.
class MpiWork : public c10d::Work {
 public:
  /// start: called on the MPI thread, adds requests; holds the buffers that MPI reads or writes. unpack (may be empty): called there when they are complete.
  using Start = std::function<void(MPI_Comm, Requests&)>;
  MpiWork(c10d::OpType type, std::vector<at::Tensor> results, Start start, std::function<void()> unpack);

  bool wait(Milliseconds timeout) override;
  std::vector<at::Tensor> result() override { return results_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }

 private:
  friend class MpiThread;
  void complete(std::exception_ptr error);

  std::vector<at::Tensor> results_;
  Start start_;
  std::function<void()> unpack_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
  Requests requests_;
  Awaited awaited_;
};

/// Owns MPI from MPI_Init_thread to MPI_Finalize, so that MPI_THREAD_FUNNELED is enough. Collectives are started in the order in which they are
/// given and progress while their callers compute. Keeps the deadline of each and says who is missing when one passes.
class MpiThread {
 public:
  /// fatal is called on the MPI thread, and must end the job, when something watched passes its deadline.
  MpiThread(Milliseconds deadline, std::function<void(const std::string&)> fatal);
  ~MpiThread();
  MpiThread(const MpiThread&) = delete;
  MpiThread& operator=(const MpiThread&) = delete;

  const Layout& layout() const { return layout_; }

  /// Runs a function on the MPI thread and waits for it; rethrows its exception.
  void call(const std::function<void(MPI_Comm)>& function);
  void start(c10::intrusive_ptr<MpiWork> work);

  /// Through the store ranks tell each other what they wait for. Null: drops it.
  void set_store(c10::intrusive_ptr<c10d::Store> store);
  /// Ends the job through `fatal` if done() (polled on the MPI thread) is not true before the deadline: for waits that nothing can interrupt.
  /// sign_of_life: it is one, and may last so long.
  void watch(std::string series, std::string name, std::function<bool()> done, std::optional<Milliseconds> sign_of_life = {});

  /// After which a wait ends the job. Somewhat more than the deadline: who comes just before that must not be named as missing.
  Milliseconds patience() const { return deadline_ + notice_ + Milliseconds(500); }
  /// Whether this rank waits for others in a collective, which will say more of a missing one than anything else.
  bool in_collective() const { return in_collective_; }
  /// Whether a call to rank 0's store has missed its deadline.
  bool store_is_silent() const { return store_is_silent_; }
  /// What this rank began last, by name.
  std::string activity() const;

  /// MPI_Finalize, and the end of the thread. Called once; without it the destructor does it.
  void finish();
  /// MPI_Abort with this code, from whichever thread; this process alone ends if that takes longer than `limit`, as where the link is cut. Does not return.
  [[noreturn]] void abort(int code, Milliseconds limit);

 private:
  struct Watched {
    Awaited awaited;
    std::function<bool()> done;
  };
  void run();
  void initialize();
  void begin(const c10::intrusive_ptr<MpiWork>& work);
  void poll();
  void rest(std::unique_lock<std::mutex>& lock);
  void check_deadlines();
  bool too_late(Awaited& awaited);
  std::string explain(const Awaited& awaited);
  void post(std::function<void()> task);
  void set_activity(const std::string& name);

  const Milliseconds deadline_;
  const Milliseconds notice_;  ///< how long a wait may last before others are told of it
  const std::function<void(const std::string&)> fatal_;
  Layout layout_;
  MPI_Comm comm_ = MPI_COMM_NULL;

  mutable std::mutex mutex_;  // of the next three
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  std::string activity_ = "starting";
  std::atomic<bool> in_collective_{false}, store_is_silent_{false};

  // Touched by the MPI thread alone.
  std::list<c10::intrusive_ptr<MpiWork>> running_;
  std::list<c10::intrusive_ptr<MpiWork>> abandoned_;  ///< MPI may still write to their buffers
  std::list<Watched> watched_;
  std::map<std::string, int64_t> sequences_;
  std::exception_ptr error_;
  c10::intrusive_ptr<c10d::Store> store_;
  int idle_rounds_ = 0;
  bool stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

/// While it lives, a call that only rank 0's store can answer is watched.
class WatchedCall {
 public:
  WatchedCall(MpiThread& thread, const char* what, std::optional<Milliseconds> sign_of_life = {}) {
    thread.watch(store_series, what, [done = done_] { return done->load(); }, sign_of_life);
  }
  ~WatchedCall() { *done_ = true; }
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;

 private:
  std::shared_ptr<std::atomic<bool>> done_ = std::make_shared<std::atomic<bool>>(false);
};

/// What ask() returns, which a thread of its own finds out; nothing if that takes longer than `limit`: calls of the store block for ever when rank 0 is
/// stopped. ask holds all that it uses, since the thread may outlive this call. Rethrows what it throws.
template <class Ask> auto answer_within(Milliseconds limit, Ask ask) {
  using Answer = decltype(ask());
  std::packaged_task<Answer()> asking(std::move(ask));
  auto answer = asking.get_future();
  std::thread(std::move(asking)).detach();
  return answer.wait_for(limit) == std::future_status::ready ? std::optional<Answer>(answer.get()) : std::nullopt;
}

/// Throws PeerError with MPI's own text unless code is MPI_SUCCESS.
void check_mpi(int code, const char* call);

}  // namespace syncdr::comm
