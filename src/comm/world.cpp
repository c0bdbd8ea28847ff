#include "syncdr/comm/world.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Logging.h>
#include <torch/cuda.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "heartbeat.h"
#include "host.h"
#include "mpi_backend.h"
#include "mpi_thread.h"
#include "nccl_backend.h"
#include "syncdr/core/error.h"
#include "syncdr/core/fault.h"
#include "syncdr/core/log.h"

namespace syncdr::comm {
namespace {

using namespace std::chrono_literals;
using c10d::ProcessGroup;

Milliseconds milliseconds(double seconds) { return Milliseconds(static_cast<int64_t>(seconds * 1000)); }

/// Rank 0 serves the store on a port that the system picks; its address travels over MPI.
c10::intrusive_ptr<c10d::Store> open_store(MpiThread& thread, Milliseconds deadline) {
  const auto& layout = thread.layout();
  c10d::TCPStoreOptions options;
  options.isServer = layout.rank == 0;
  options.port = 0;
  options.waitWorkers = false;
  options.timeout = deadline;
  struct Address {
    char host[256] = "";
    uint16_t port = 0;
  } address;
  c10::intrusive_ptr<c10d::TCPStore> store;
  if (layout.rank == 0) {
    const auto host = layout.local_size == layout.size ? std::string("127.0.0.1") : reachable_address();
    store = c10::make_intrusive<c10d::TCPStore>(host, options);
    std::snprintf(address.host, sizeof(address.host), "%s", host.c_str());
    address.port = store->getPort();
  }
  thread.call([&](MPI_Comm comm) { check_mpi(MPI_Bcast(&address, sizeof(address), MPI_BYTE, 0, comm), "MPI_Bcast of the store's address"); });
  if (layout.rank == 0) return store;
  options.port = address.port;
  return c10::make_intrusive<c10d::TCPStore>(address.host, options);
}

/// What tells each rank's GPU from all others, by host; empty: the rank has none.
std::vector<std::string> gpus_of_ranks(MpiThread& thread, int own) {
  const auto& layout = thread.layout();
  constexpr size_t width = 17;
  const auto name = own < 0 ? std::string() : '#' + gpu_identity(own);
  std::vector<char> mine(width), all(width * static_cast<size_t>(layout.size));
  std::copy_n(name.begin(), std::min(width, name.size()), mine.begin());
  thread.call([&](MPI_Comm comm) { check_mpi(MPI_Allgather(mine.data(), width, MPI_CHAR, all.data(), width, MPI_CHAR, comm), "MPI_Allgather of the GPUs"); });
  std::vector<std::string> gpus;
  for (int rank = 0; rank < layout.size; ++rank) {
    const std::string other(all.data() + width * static_cast<size_t>(rank), width);
    gpus.push_back(other[0] == '#' ? layout.host(rank) + other : "");
  }
  return gpus;
}

/// A GPU for each rank, or the CPU for all. Every rank decides alike.
c10::Device choose_device(MpiThread& thread, const std::string& wanted) {
  const auto& layout = thread.layout();
  if (wanted == "cpu") return c10::kCPU;
  const int visible = static_cast<int>(torch::cuda::device_count());
  // Schedulers show a rank either all GPUs of its host or its own alone.
  const int index = visible >= layout.local_size ? layout.local_rank : visible == 1 ? 0 : -1;
  const auto gpus = gpus_of_ranks(thread, index);
  const bool each_has_one = std::find(gpus.begin(), gpus.end(), "") == gpus.end();
  if (each_has_one && std::set(gpus.begin(), gpus.end()).size() == gpus.size()) return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)};
  if (wanted == "cuda")
    throw core::UsageError(
        "device = \"cuda\", but {}: rank {} on {} sees {} GPUs for {} ranks there. Start as many ranks as there are GPUs, or use "
        "device = \"cpu\"",
        each_has_one ? "some ranks would share a GPU" : "not every rank has a GPU", layout.rank, layout.host(layout.rank), visible, layout.local_size);
  return c10::kCPU;
}

/// The elements of root's container, on every rank.
template <class Container> Container broadcast_elements(World& world, Container elements, int root, const char* what) {
  auto count = at::full({1}, static_cast<int64_t>(elements.size()), at::kLong);
  world.broadcast(count, root, what);
  elements.resize(static_cast<size_t>(count.item<int64_t>()));
  auto bytes = at::from_blob(elements.data(), {static_cast<int64_t>(elements.size() * sizeof(elements[0]))}, at::kByte);
  world.broadcast(bytes, root, what);
  return elements;
}

/// An error that is none of ours names the rank.
core::Outcome outcome_on(int rank, const std::function<void()>& work) {
  auto outcome = core::outcome_of(work);
  if (outcome.foreign) outcome.message = fmt::format("rank {}: {}", rank, outcome.message);
  return outcome;
}

}  // namespace

/// Who says why the job ends: this rank, another, or nobody knows because rank 0 does not answer.
enum class Voice { own, other, unknown };

struct World::State {
  Milliseconds deadline;
  std::unique_ptr<MpiThread> thread;
  std::unique_ptr<Heartbeat> heartbeat;  // of jobs of several ranks
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<ProcessGroup> group;
  c10::intrusive_ptr<MpiBackend> mpi;
  c10::Device device = c10::kCPU;
  bool nccl = false;
  bool finished = false;

  const Layout& layout() const { return thread->layout(); }

  /// The tensor itself or a copy, as the backend of its device takes it.
  at::Tensor transportable(const at::Tensor& tensor) const {
    const auto dense = tensor.detach().contiguous();
    return dense.is_cuda() && !nccl ? dense.cpu() : dense;
  }
  c10::intrusive_ptr<c10d::Backend> backend_of(const at::Tensor& tensor) const { return group->getBackend(tensor.device().type()); }
  /// Waits for the collective that start(backend, tensors) begins on the tensor.
  template <class Start> void run_on(at::Tensor& tensor, const char* what, Start&& start) const {
    const at::NoGradGuard no_grad;
    const Naming naming(what);
    std::vector<at::Tensor> buffer{transportable(tensor)};
    start(*backend_of(buffer[0]), buffer)->wait();
    if (!buffer[0].is_alias_of(tensor)) tensor.copy_(buffer[0]);
  }

  Voice voice();
  [[noreturn]] void end_job(core::ExitCode code, const std::string& message);
};

/// The first rank that fails speaks. Rank 0's store counts them, if it answers within a second.
Voice World::State::voice() {
  if (!store) return Voice::own;
  if (thread->store_is_silent()) return Voice::unknown;
  const auto first = answer_within(1s, [shared = store] {
    try {
      return shared->add("failed", 1) == 1;
    } catch (const std::exception&) {
      return false;  // rank 0 has ended: it has spoken, or was killed, which the launcher says
    }
  });
  return !first ? Voice::unknown : *first ? Voice::own : Voice::other;
}

void World::State::end_job(core::ExitCode code, const std::string& message) {
  static std::atomic<bool> ending{false};
  const auto speaks = ending.exchange(true) ? Voice::other : voice();
  // Where rank 0 does not answer, the first other rank of each host speaks.
  const bool first_here = layout().local_rank == (layout().host(0) == layout().host(layout().rank) ? 1 : 0);
  if (speaks == Voice::own || (speaks == Voice::unknown && first_here)) {
    core::error("{}", message);
  } else {
    std::this_thread::sleep_for(speaks == Voice::unknown ? stand_by(deadline) : 4s);  // who has spoken ends the job; this rank only in case it cannot
    if (code == core::ExitCode::bug) code = core::ExitCode::try_again;                // what a lost store throws looks like one
  }
  std::fflush(nullptr);
  if (layout().size == 1) std::_Exit(static_cast<int>(code));
  thread->abort(static_cast<int>(code), speaks == Voice::unknown ? 700ms : 2s);
}

World::World(const CommConfig& config) : state_(std::make_unique<State>()) {
  // c10d would print a stack for each connection that a dying peer closes, over the message that says what has happened.
  setenv("TORCH_CPP_LOG_LEVEL", "ERROR", 0);
  c10::initLogging();
  const auto deadline = milliseconds(config.deadline);
  auto& state = *state_;
  state.deadline = deadline;
  state.thread = std::make_unique<MpiThread>(deadline, [&state](const std::string& message) { state.end_job(core::ExitCode::try_again, message); });
  const auto& layout = state.layout();
  core::set_log_rank(layout.rank, layout.size);
  at::set_num_threads(config.threads > 0 ? static_cast<int>(config.threads) : compute_threads(layout.ranks_on_my_cores));
  state.device = choose_device(*state.thread, config.device);

  // From here on ranks may fail alone, and their peers would wait for them.
  try {
    connect();
  } catch (const core::Error& error) {
    if (layout.size > 1) state.end_job(error.code(), error.what());
    throw;
  } catch (const std::exception& error) {
    const auto message = fmt::format("{} could not join the job: {}", layout.place(layout.rank), error.what());
    if (layout.size > 1) state.end_job(core::ExitCode::try_again, message);
    throw core::PeerError("{}", message);
  }
}

void World::connect() {
  auto& state = *state_;
  const auto deadline = state.deadline;
  {
    const WatchedCall watched(*state.thread, "connecting to the store");
    state.store = open_store(*state.thread, deadline);
    state.thread->set_store(state.store->clone());  // a connection of its own: calls of a shared one wait for each other
    if (size() > 1)
      state.heartbeat = std::make_unique<Heartbeat>(*state.thread, state.store->clone(), deadline,
                                                    [&state](const std::string& message) { state.end_job(core::ExitCode::try_again, message); });
  }
  state.group = c10::make_intrusive<ProcessGroup>(state.store, rank(), size());
  state.mpi = c10::make_intrusive<MpiBackend>(*state.thread);
  state.group->setBackend(c10::kCPU, ProcessGroup::BackendType::CUSTOM, state.mpi);
  state.group->setDefaultBackend(ProcessGroup::BackendType::CUSTOM);
  if (!state.device.is_cuda()) return;
  if (auto nccl = make_nccl_backend(*state.thread, state.store, state.device.index(), deadline)) {
    state.group->setBackend(c10::kCUDA, ProcessGroup::BackendType::NCCL, nccl);
    state.nccl = true;
  }
}

World::~World() {
  if (!state_->thread || state_->finished) return;
  // Peers would wait for this rank; only a job of one rank may end without finish().
  if (size() > 1) fail(core::ExitCode::bug, "the rank ended without World::finish");
  finish(core::ExitCode::done);
}

int World::rank() const { return state_->layout().rank; }
int World::size() const { return state_->layout().size; }
int World::local_rank() const { return state_->layout().local_rank; }
int World::local_size() const { return state_->layout().local_size; }
int64_t World::threads(int64_t asked) const { return asked > 0 ? asked : share_of_cores(state_->layout().ranks_on_my_cores); }
const std::vector<std::string>& World::hosts() const { return state_->layout().hosts; }
c10::Device World::device() const { return state_->device; }
std::string World::backend() const { return state_->nccl ? "nccl" : "mpi"; }
c10::intrusive_ptr<ProcessGroup> World::group() const { return state_->group; }

void World::barrier(const char* what) {
  const Naming naming(what);
  state_->mpi->barrier({})->wait();
}

void World::all_reduce_sum(at::Tensor& tensor, const char* what) {
  state_->run_on(tensor, what, [](c10d::Backend& backend, auto& tensors) { return backend.allreduce(tensors, {}); });
}

at::Tensor World::all_gather_rows(const at::Tensor& rows, const char* what) {
  const at::NoGradGuard no_grad;
  const Naming naming(what);
  SYNCDR_ASSERT(rows.dim() >= 1, "rows are gathered, not a scalar");
  auto mine = at::full({1}, rows.size(0), at::kLong), counts = at::empty({size()}, at::kLong);
  state_->mpi->_allgather_base(counts, mine, {})->wait();
  const std::vector<int64_t> count(counts.data_ptr<int64_t>(), counts.data_ptr<int64_t>() + size());
  const auto longest = *std::max_element(count.begin(), count.end());

  // Parts of equal length are what both backends gather fastest; unequal ones are padded to the longest.
  auto part = state_->transportable(rows);
  auto shape = part.sizes().vec();
  shape[0] = longest;
  if (rows.size(0) < longest) {
    auto padded = at::zeros(shape, part.options());
    padded.narrow(0, 0, rows.size(0)).copy_(part);
    part = padded;
  }
  shape[0] = longest * size();
  auto gathered = at::empty(shape, part.options());
  state_->backend_of(part)->_allgather_base(gathered, part, {})->wait();
  if (std::any_of(count.begin(), count.end(), [&](int64_t n) { return n < longest; })) {
    std::vector<at::Tensor> parts;
    for (int64_t r = 0; r < size(); ++r) parts.push_back(gathered.narrow(0, r * longest, count[static_cast<size_t>(r)]));
    gathered = at::cat(parts);
  }
  return gathered.to(rows.device());
}

void World::broadcast(at::Tensor& tensor, int root, const char* what) {
  state_->run_on(tensor, what, [root](c10d::Backend& backend, auto& tensors) { return backend.broadcast(tensors, {.rootRank = root}); });
}

std::string World::broadcast(const std::string& text, int root, const char* what) { return broadcast_elements(*this, text, root, what); }

std::vector<int64_t> World::broadcast(const std::vector<int64_t>& values, int root, const char* what) { return broadcast_elements(*this, values, root, what); }

std::vector<std::string> World::gather(const std::string& text, const char* what) {
  const auto lengths = all_gather_rows(at::full({1}, static_cast<int64_t>(text.size()), at::kLong), what);
  auto bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<uint8_t>());
  const auto all = all_gather_rows(bytes, what);
  const auto* next = all.data_ptr<uint8_t>();
  std::vector<std::string> texts;
  for (int64_t rank = 0; rank < size(); ++rank) {
    const auto length = lengths.data_ptr<int64_t>()[rank];
    texts.emplace_back(next, next + length);
    next += length;
  }
  return texts;
}

void World::root_only(const char* what, const std::function<void()>& work) {
  const auto outcome = is_root() ? outcome_on(0, work) : core::Outcome();
  // One broadcast tells the peers that rank 0 is through; the text follows only if there is one.
  auto agreed = at::full({1}, static_cast<int64_t>(outcome.code), at::kLong);
  broadcast(agreed, 0, what);
  if (const auto failed = static_cast<core::ExitCode>(agreed.item<int64_t>()); failed != core::ExitCode::done)
    throw core::Error(failed, broadcast(outcome.message, 0, what));
}

void World::together(const char* what, const std::function<void()>& work) {
  const auto outcome = outcome_on(rank(), work);
  const auto gathered = all_gather_rows(at::full({1}, static_cast<int64_t>(outcome.code), at::kLong), what);
  const auto* codes = gathered.data_ptr<int64_t>();
  int worst = -1;
  for (int other = 0; other < size(); ++other)
    if (codes[other] != 0 && (worst < 0 || codes[other] < codes[worst])) worst = other;
  if (worst >= 0) throw core::Error(static_cast<core::ExitCode>(codes[worst]), broadcast(outcome.message, worst, what));
}

int64_t World::all_reduce_max(int64_t value, const char* what) {
  const Naming naming(what);
  std::vector<at::Tensor> buffer{at::full({1}, value, at::kLong)};
  state_->mpi->allreduce(buffer, {.reduceOp = c10d::ReduceOp::MAX})->wait();
  return buffer[0].item<int64_t>();
}

int64_t World::add(const std::string& key, int64_t value, const char* what) {
  const WatchedCall watched(*state_->thread, what);
  return state_->store->add(key, value);
}

core::ExitCode World::finish(core::ExitCode code) {
  const auto agreed = static_cast<core::ExitCode>(all_reduce_max(static_cast<int64_t>(code), "agreeing on the exit code"));
  core::fault_point("world.agreed");
  auto& state = *state_;
  state.finished = true;
  const auto watching = watchdog(state.deadline, [place = state.layout().place(rank()), seconds = state.deadline.count() / 1000.0] {
    core::error("{}: the job was done, but did not end within {} s: a peer has stopped or died in its last steps", place, seconds);
    leave(static_cast<int>(core::ExitCode::try_again));
  });
  state.heartbeat.reset();
  if (state.nccl) state.group->getBackend(c10::kCUDA)->shutdown();
  state.group.reset();
  state.mpi.reset();
  state.thread->set_store(nullptr);
  if (rank() != 0) state.store.reset();
  // Rank 0's store goes last: a peer that still talks to it would meet an error.
  state.thread->call([](MPI_Comm comm) { MPI_Barrier(comm); });
  state.store.reset();
  state.thread->finish();
  return agreed;
}

void World::fail(core::ExitCode code, const std::string& message) { state_->end_job(code, message); }

int run_job(const CommConfig& config, const std::function<core::ExitCode(World&)>& body) {
  World world(config);
  auto code = core::ExitCode::done;
  const auto outcome = outcome_on(world.rank(), [&] {
    try {
      code = body(world);
    } catch (const core::StopRequested& stop) {
      if (world.is_root()) core::warn("{}", stop.what());
      code = stop.code();
    }
    code = world.finish(code);
  });
  if (outcome.code != core::ExitCode::done) world.fail(outcome.code, outcome.message);
  return static_cast<int>(code);
}

}  // namespace syncdr::comm
