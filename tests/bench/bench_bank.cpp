#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>

#include "objective.h"
#include "retrieval/plain_losses.h"
#include "syncdr/comm/world.h"
#include "syncdr/nn/unit_rows.h"

/// A training step's losses, their gradients and the update of the memory banks: random unit features of two domains against random banks. Runs
/// under mpirun, too. --plain times the losses as formulas over all logits with autograd besides, in the same run on one rank.
namespace {

using namespace syncdr;

const retrieval::Directions both = {{0, 1}, {1, 0}};

struct Arguments {
  int64_t rows = 396'000, dim = 64, batch = 256, steps = 5;
  bool plain = false;
  retrieval::TrainConfig train;
};

/// Bytes of this process as /proc names them: VmRSS, VmHWM.
int64_t memory(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == name + ":" && status >> kib) return kib * 1024;
  }
  return 0;
}

/// Pairs of all entries; the ranks' rows one after the other.
retrieval::GlobalBatch make_batch(const Arguments& arguments, int64_t step, const comm::World& world) {
  retrieval::GlobalBatch batch{.domains = std::vector<retrieval::DomainBatch>(2)};
  std::vector<std::vector<int64_t>> features(2), counterparts(2);
  for (int rank = 0; rank < world.size(); ++rank) {
    for (size_t k = 0; k < 2; ++k) {
      const training::Part part = training::part_of(arguments.batch, rank, world.size());
      if (rank == world.rank()) batch.domains[k].own = part;
      for (int64_t at = part.first; at < part.last; ++at) features[k].push_back(batch.images++);
      for (int64_t at = part.first; at < part.last; ++at) counterparts[k].push_back(batch.images++);
    }
  }
  for (size_t k = 0; k < 2; ++k) {
    batch.domains[k].ids = at::arange(arguments.batch, at::kLong).mul_(7919).add_(step * 104'729).remainder_(arguments.rows);
    batch.domains[k].paired = at::arange(arguments.batch, at::kLong);
    batch.domains[k].features = at::tensor(features[k], at::kLong);
    batch.domains[k].counterparts = at::tensor(counterparts[k], at::kLong);
    batch.domains[k].weights = at::ones({arguments.batch}, at::kDouble);
  }
  return batch;
}

at::Tensor random_rows(int64_t rows, int64_t dim, uint64_t seed) {
  at::manual_seed(seed);
  return nn::unit_rows(at::randn({rows, dim}));
}

at::Tensor plain_loss(const retrieval::TrainConfig& config, const retrieval::GlobalBatch& batch, const at::Tensor& gathered,
                      const std::vector<retrieval::MemoryBank>& banks) {
  at::Tensor loss = gathered.new_zeros({});
  for (size_t k = 0; k < 2; ++k) {
    const auto& domain = batch.domains[k];
    const at::Tensor own = gathered.index_select(0, domain.features);
    loss = loss + 0.5 * config.instance_weight * retrieval::plain::instance_discrimination(own, banks[k].rows(), domain.ids, config.temperature) +
           config.matching_weight * retrieval::plain::cross_domain_matching(own, banks[1 - k].rows(), config.temperature, config.matching_top) +
           config.pair_weight * retrieval::plain::pseudo_positive_pairs(gathered.index_select(0, domain.counterparts), own, config.pair_temperature);
  }
  return loss;
}

double middle(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Says how far the losses in tiles are from those that have just been backpropagated.
void compare(const Arguments& arguments, const retrieval::GlobalBatch& batch, const at::Tensor& features, const std::vector<retrieval::MemoryBank>& banks) {
  const at::NoGradGuard no_gradient;
  const at::Tensor plain = plain_loss(arguments.train, batch, features, banks);
  const retrieval::LossShare share = retrieval::loss_share(arguments.train, batch, features.detach(), banks, both);
  const double largest = features.grad().abs().max().item<double>(), error = (share.gradient - features.grad()).abs().max().item<double>();
  std::printf("of the same step: loss %.8g plain, %.8g in tiles; gradients differ by %.1e of %.1e\n", plain.item<double>(), share.values[0].item<double>(),
              error, largest);
}

void run(const char* title, const Arguments& arguments, comm::World& world, std::vector<retrieval::MemoryBank>& banks, bool plain) {
  std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM begins anew
  const int64_t before = memory("VmRSS");
  std::vector<double> seconds, busy;  // by the clock, and of all threads on cores
  double loss = 0, slope = 0;
  for (int64_t step = -1; step < arguments.steps; ++step) {  // the first warms up
    const retrieval::GlobalBatch batch = make_batch(arguments, step + 1, world);
    const training::Part own = training::part_of(batch.images, world.rank(), world.size());
    const at::Tensor features = random_rows(own.size(), arguments.dim, 1000 + static_cast<uint64_t>(100 * step + world.rank())).requires_grad_(true);
    world.barrier("the next step");
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t ticks = std::clock();
    const at::Tensor gathered = world.all_gather_rows(features.detach(), "features");
    if (plain) {
      const at::Tensor value = plain_loss(arguments.train, batch, features, banks);
      value.backward();
      loss = value.item<double>();
    } else {
      const retrieval::LossShare share = retrieval::loss_share(arguments.train, batch, gathered, banks, both);
      (features * share.gradient).sum().backward();
      at::Tensor values = share.values;
      world.all_reduce_sum(values, "losses");
      loss = values[0].item<double>();
    }
    if (plain && step < 0) compare(arguments, batch, features, banks);
    for (size_t k = 0; k < 2; ++k) banks[k].update(batch.domains[k].ids, gathered.index_select(0, batch.domains[k].features));
    if (step >= 0) {
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      busy.push_back(static_cast<double>(std::clock() - ticks) / CLOCKS_PER_SEC);
    }
    slope = features.grad().norm().item<double>();
  }
  const double median = middle(seconds), cores = middle(busy);
  const double mib = 1024.0 * 1024.0;
  const int64_t peak = world.all_reduce_max(memory("VmHWM"), "peak"), held = world.all_reduce_max(before, "memory before");
  if (!world.is_root()) return;
  std::printf("%s: step %.3f s (least %.3f; %.3f s of cores on rank 0), peak %.0f MiB, %.0f above the %.0f before; loss %.7g, |gradient of rank 0| %.7g\n",
              title, median, seconds.front(), cores, static_cast<double>(peak) / mib, static_cast<double>(peak - held) / mib, static_cast<double>(held) / mib,
              loss, slope);
  std::fflush(stdout);
}

core::ExitCode measure(const Arguments& arguments, comm::World& world) {
  const int64_t start = memory("VmRSS");
  std::vector<retrieval::MemoryBank> banks;
  for (uint64_t k = 0; k < 2; ++k) {
    banks.push_back(retrieval::make_bank(world, arguments.train.bank, arguments.rows, arguments.dim, at::kFloat, 0.5));
    const training::Part part = banks.back().part();
    constexpr int64_t piece = 65536;  // the same rows on any number of ranks, and never a whole bank
    for (int64_t first = part.first / piece * piece; first < part.last; first += piece) {
      const int64_t count = std::min(piece, arguments.rows - first);
      banks.back().put(at::arange(first, first + count, at::kLong), random_rows(count, arguments.dim, 10 * static_cast<uint64_t>(first) + k));
    }
  }
  const int64_t held = world.all_reduce_max(memory("VmRSS") - start, "memory of the banks");
  const int64_t sum = retrieval::checksum(world, banks);
  if (world.is_root()) {
    std::printf("2 banks of %ld rows x %ld (%s, %s), %ld images per domain, %d ranks of %d threads: %.0f MiB per rank, checksum %ld\n", arguments.rows,
                arguments.dim, arguments.train.bank.placement.c_str(), arguments.train.bank.precision.c_str(), arguments.batch, world.size(),
                at::get_num_threads(), static_cast<double>(held) / (1024.0 * 1024.0), sum);
  }
  run("tiles", arguments, world, banks, false);
  if (arguments.plain && world.size() == 1) run("plain", arguments, world, banks, true);
  return core::ExitCode::done;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  comm::CommConfig comm{.device = "cpu"};
  CLI::App app("Losses and update of memory banks");
  app.add_option("--rows", arguments.rows, "of each bank")->capture_default_str();
  app.add_option("--dim", arguments.dim, "numbers of a row")->capture_default_str();
  app.add_option("--batch", arguments.batch, "images per domain and step, of all ranks")->capture_default_str();
  app.add_option("--steps", arguments.steps, "that are timed")->capture_default_str();
  app.add_option("--top", arguments.train.matching_top, "rows that matching looks at")->capture_default_str();
  app.add_option("--placement", arguments.train.bank.placement, "replicated or sharded")->capture_default_str();
  app.add_option("--precision", arguments.train.bank.precision, "fp32 or bf16")->capture_default_str();
  app.add_option("--threads", comm.threads, "of a rank; 0: its share of the cores")->capture_default_str();
  app.add_flag("--plain", arguments.plain, "the formulas over all logits, too");
  CLI11_PARSE(app, argc, argv);
  return comm::run_job(comm, [&](comm::World& world) { return measure(arguments, world); });
}
