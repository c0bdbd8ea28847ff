#include "mpi_thread.h"

#include "host.h"

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>

#include "syncdr/comm/launcher.h"
#include "syncdr/comm/world.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"

namespace syncdr::comm {
namespace {

using namespace std::chrono_literals;

thread_local const char* current_name = nullptr;

std::string key_of(const Awaited& awaited, int rank) { return fmt::format("late/{}/{}", awaited.series, rank); }

/// Where a rank was last seen waiting: "SEQUENCE NAME" as posted by it.
struct Posted {
  int64_t sequence = -1;
  std::string name;
};

Posted parse_posted(const std::vector<uint8_t>& bytes) {
  const std::string text(bytes.begin(), bytes.end());
  const auto space = text.find(' ');
  return {std::strtoll(text.c_str(), nullptr, 10), space == std::string::npos ? "" : text.substr(space + 1)};
}

/// Reads what all ranks have posted; nothing if rank 0 does not answer.
std::optional<std::vector<Posted>> read_posted(c10::intrusive_ptr<c10d::Store> store, const Awaited& awaited, int size) {
  try {
    return answer_within(700ms, [store, awaited, size] {
      std::vector<Posted> posted(static_cast<size_t>(size));
      for (int rank = 0; rank < size; ++rank)
        if (const auto key = key_of(awaited, rank); store->check({key})) posted[static_cast<size_t>(rank)] = parse_posted(store->get(key));
      return posted;
    });
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

/// Without mpirun OpenMPI starts a daemon for the one rank; isolated, it does not. Must be set before MPI_Init.
void isolate_singleton() {
  if (started_as_rank()) return;
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
}

/// For collectives that World did not name: c10d's reducer starts them.
std::string default_name(c10d::OpType type) { return type == c10d::OpType::ALLREDUCE ? "averaging gradients" : c10d::opTypeToString(type); }

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw core::PeerError("{} failed: {}", call, text);
}

bool started_as_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(name)) return true;
  return false;
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string version(text, static_cast<size_t>(length));
  return version.substr(0, version.find_first_of(",\n"));
}

Naming::Naming(const char* what) { current_name = what; }
Naming::~Naming() { current_name = nullptr; }
std::string Naming::current(const char* otherwise) { return current_name ? current_name : otherwise; }

MpiWork::MpiWork(c10d::OpType type, std::vector<at::Tensor> results, Start start, std::function<void()> unpack)
    : Work(-1, type), results_(std::move(results)), start_(std::move(start)), unpack_(std::move(unpack)),
      future_(c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))) {
  awaited_.name = Naming::current(default_name(type).c_str());
  awaited_.series = "mpi";
}

bool MpiWork::wait(Milliseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto completed = [this] { return completed_; };
  // The MPI thread keeps the World's deadline, so a wait without a limit of its own ends too.
  if (timeout == kNoTimeout || timeout == c10d::kUnsetTimeout) cv_.wait(lock, completed);
  else if (!cv_.wait_for(lock, timeout, completed)) throw core::PeerError("\"{}\" did not end within {} ms", awaited_.name, timeout.count());
  if (exception_) std::rethrow_exception(exception_);
  return true;
}

void MpiWork::complete(std::exception_ptr error) {
  if (!error && unpack_) try {
      unpack_();
    } catch (...) {
      error = std::current_exception();
    }
  // The future first: whoever returns from wait() must find it complete.
  if (error) future_->setError(error);
  else future_->markCompleted(c10::IValue(results_));
  finish(error);
}

MpiThread::MpiThread(Milliseconds deadline, std::function<void(const std::string&)> fatal)
    : deadline_(deadline), notice_(std::min(deadline / 4, Milliseconds(500))), fatal_(std::move(fatal)) {
  std::promise<void> started;
  thread_ = std::thread([this, &started] {
    try {
      initialize();
    } catch (...) {
      started.set_exception(std::current_exception());
      return;
    }
    started.set_value();
    run();
  });
  auto outcome = started.get_future();
  if (outcome.wait_for(deadline_) != std::future_status::ready) {
    core::error("MPI did not start within {} s on this rank: a peer may not have started, or its host is out of reach",
                std::chrono::duration<double>(deadline_).count());
    leave(static_cast<int>(core::ExitCode::try_again));  // nothing can interrupt MPI_Init
  }
  try {
    outcome.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

MpiThread::~MpiThread() {
  if (thread_.joinable()) finish();
}

void MpiThread::initialize() {
  isolate_singleton();
  int provided = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_FUNNELED) throw core::UsageError("this MPI was built without threads: MPI_THREAD_FUNNELED is needed");
  MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm_, &layout_.rank);
  MPI_Comm_size(comm_, &layout_.size);

  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  std::vector<char> hosts(sizeof(host) * static_cast<size_t>(layout_.size));
  check_mpi(MPI_Allgather(host, sizeof(host), MPI_CHAR, hosts.data(), sizeof(host), MPI_CHAR, comm_), "MPI_Allgather");
  for (int rank = 0; rank < layout_.size; ++rank) layout_.hosts.emplace_back(hosts.data() + sizeof(host) * static_cast<size_t>(rank));

  MPI_Comm local = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, layout_.rank, MPI_INFO_NULL, &local), "MPI_Comm_split_type");
  MPI_Comm_rank(local, &layout_.local_rank);
  MPI_Comm_size(local, &layout_.local_size);
  cpu_set_t mine;
  CPU_ZERO(&mine);
  sched_getaffinity(getpid(), sizeof(mine), &mine);
  std::vector<cpu_set_t> masks(static_cast<size_t>(layout_.local_size));
  check_mpi(MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, masks.data(), sizeof(mine), MPI_BYTE, local), "MPI_Allgather");
  layout_.ranks_on_my_cores = static_cast<int>(std::count_if(masks.begin(), masks.end(), [&](auto& mask) { return CPU_EQUAL(&mask, &mine); }));
  MPI_Comm_free(&local);
}

void MpiThread::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void MpiThread::call(const std::function<void(MPI_Comm)>& function) {
  std::packaged_task<void()> task([&] { function(comm_); });
  auto done = task.get_future();
  post([&] { task(); });
  done.get();
}

void MpiThread::start(c10::intrusive_ptr<MpiWork> work) {
  post([this, work = std::move(work)] { begin(work); });
}

void MpiThread::begin(const c10::intrusive_ptr<MpiWork>& work) {
  work->awaited_.sequence = ++sequences_[work->awaited_.series];
  work->awaited_.limit = patience();
  set_activity(work->awaited_.name);
  if (!error_) try {
      work->start_(comm_, work->requests_);
      running_.push_back(work);
      return;
    } catch (...) {
      error_ = std::current_exception();  // peers are now out of step with this rank: nothing later can succeed
    }
  abandoned_.push_back(work);
  work->complete(error_);
}

void MpiThread::set_store(c10::intrusive_ptr<c10d::Store> store) {
  call([&](MPI_Comm) { store_ = std::move(store); });
}

void MpiThread::watch(std::string series, std::string name, std::function<bool()> done, std::optional<Milliseconds> sign_of_life) {
  if (!sign_of_life) set_activity(name);
  Awaited awaited{.name = std::move(name), .series = std::move(series), .limit = sign_of_life.value_or(patience()), .sign_of_life = sign_of_life.has_value()};
  post([this, awaited = std::move(awaited), done = std::move(done)]() mutable {
    awaited.sequence = ++sequences_[awaited.series];
    watched_.push_back({std::move(awaited), std::move(done)});
  });
}

void MpiThread::run() {
  prctl(PR_SET_TIMERSLACK, 1000UL);  // by default the system adds 50 us to the short sleeps below
  std::unique_lock lock(mutex_);
  while (true) {
    while (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;  // what it holds may need the lock to go
      lock.lock();
      idle_rounds_ = 0;
    }
    if (stopping_) break;
    lock.unlock();
    poll();
    check_deadlines();
    in_collective_ = !running_.empty();
    lock.lock();
    if (tasks_.empty()) rest(lock);
  }
  lock.unlock();
  MPI_Comm_free(&comm_);
  MPI_Finalize();
}

void MpiThread::poll() {
  for (auto work = running_.begin(); work != running_.end();) {
    int done = 0;
    std::exception_ptr error;
    try {
      auto& requests = (*work)->requests_;
      check_mpi(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
    } catch (const core::PeerError& failed) {
      error_ = std::make_exception_ptr(core::PeerError("\"{}\" on {}: {}", (*work)->awaited_.name, layout_.place(layout_.rank), failed.what()));
      return;  // check_deadlines hands the error to all
    }
    if (done) {
      (*work)->complete(nullptr);
      work = running_.erase(work);
      idle_rounds_ = 0;
    } else {
      ++work;
    }
  }
  watched_.remove_if([](const Watched& watched) { return watched.done(); });
}

/// How to wait for the next event: idle until a task comes; while something runs, a few yields for short operations, then short sleeps, so that
/// ranks that share cores leave them to those that compute.
void MpiThread::rest(std::unique_lock<std::mutex>& lock) {
  if (running_.empty() && watched_.empty()) {
    wake_.wait(lock, [this] { return !tasks_.empty(); });
    return;
  }
  ++idle_rounds_;
  if (running_.empty()) {
    wake_.wait_for(lock, 1ms);  // what is only watched goes on without this thread
  } else if (idle_rounds_ < 100) {
    lock.unlock();
    sched_yield();
    lock.lock();
  } else {
    wake_.wait_for(lock, idle_rounds_ < 5000 ? 20us : 200us);
  }
}

bool MpiThread::too_late(Awaited& awaited) {
  const auto waited = Clock::now() - awaited.begun;
  if (waited > notice_ && !awaited.posted && store_) {
    awaited.posted = true;
    store_->set(key_of(awaited, layout_.rank), fmt::format("{} {}", awaited.sequence, awaited.name));  // sends, waits for no answer
  }
  return waited > awaited.limit;
}

void MpiThread::check_deadlines() {
  if (idle_rounds_ == 0) return;
  if (!error_ && !running_.empty() && too_late(running_.front()->awaited_))
    error_ = std::make_exception_ptr(core::PeerError("{}", explain(running_.front()->awaited_)));
  if (error_)
    for (; !running_.empty(); running_.pop_front()) {
      abandoned_.push_back(running_.front());
      running_.front()->complete(error_);
    }
  for (auto& watched : watched_)
    if (too_late(watched.awaited)) fatal_(explain(watched.awaited));
}

std::string MpiThread::explain(const Awaited& awaited) {
  const auto seconds = std::chrono::duration<double>(deadline_).count();
  // A sign of life that gets no answer says nothing; what this rank is at does.
  const auto head =
      fmt::format("\"{}\" missed its deadline of {} s on {}: ", awaited.sign_of_life ? activity() : awaited.name, seconds, layout_.place(layout_.rank));
  const auto posted = store_ && awaited.series != store_series ? read_posted(store_, awaited, layout_.size) : std::nullopt;
  store_is_silent_ = !posted;
  if (!posted) return head + fmt::format("{} does not answer", layout_.place(0));
  std::vector<std::string> missing;
  for (int rank = 0; rank < layout_.size; ++rank) {
    const auto& other = (*posted)[static_cast<size_t>(rank)];
    if (rank == layout_.rank || other.sequence >= awaited.sequence) continue;
    missing.push_back(layout_.place(rank) + (other.sequence < 0 ? "" : fmt::format(", last seen waiting for \"{}\"", other.name)));
  }
  if (missing.empty()) return head + "every rank has come, but the operation did not end";
  return head + fmt::format("{} {} not come", fmt::join(missing, "; "), missing.size() == 1 ? "has" : "have");
}

void MpiThread::set_activity(const std::string& name) {
  const std::lock_guard lock(mutex_);
  activity_ = name;
}

std::string MpiThread::activity() const {
  const std::lock_guard lock(mutex_);
  return activity_;
}

void MpiThread::finish() {
  post([this] { stopping_ = true; });
  thread_.join();
}

void MpiThread::abort(int code, Milliseconds limit) {
  end_daemon_later(code);
  std::thread([code, limit] {
    std::this_thread::sleep_for(limit);
    std::_Exit(code);
  }).detach();
  if (std::this_thread::get_id() != thread_.get_id() && thread_.joinable()) {
    post([code] { MPI_Abort(MPI_COMM_WORLD, code); });
    std::this_thread::sleep_for(500ms);  // enough unless that thread is stuck inside MPI
  }
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace syncdr::comm
