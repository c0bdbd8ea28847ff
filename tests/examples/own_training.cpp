// A training of one's own, in a loop of one's own: a network that tells two domains apart. Its losses are, up to rounding, the same on any
// number of ranks.
//
// usage: mpirun -np 2 own_training DATASET OUT.safetensors
//
// Checkpoints, a stop on request, a log and a mark of what is done are not here: training::run has them, for a training::Learner.
#include <ATen/TensorOperators.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "syncdr/comm/world.h"
#include "syncdr/core/error.h"
#include "syncdr/data/loader.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/nn/initialise.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/optimizer.h"
#include "syncdr/training/part.h"

using namespace syncdr;

namespace {

constexpr uint64_t seed = 0;
constexpr int64_t batch = 8, steps = 20;  // batch: pictures of each domain in a step, of all ranks together

struct Net : torch::nn::Module {
  torch::nn::Conv2d first{torch::nn::Conv2dOptions(3, 16, 5).stride(2)}, second{torch::nn::Conv2dOptions(16, 32, 3).stride(2)};
  torch::nn::Linear last{32, 1};
  Net() {
    register_module("first", first);
    register_module("second", second);
    register_module("last", last);
    nn::initialise(*this, "domains", seed);
  }
  /// [B, 3, S, S] bytes -> [B]: above 0 for the second domain.
  at::Tensor forward(const at::Tensor& images) {
    const at::Tensor pixels = images.to(last->weight.device()).to(at::kFloat).div_(127.5).sub_(1);
    return last->forward(second->forward(first->forward(pixels).relu()).relu().mean({2, 3})).squeeze(1);
  }
};

/// The training images of one domain, in a random order that is the same on all ranks.
struct Images {
  data::PairSet set;
  data::BatchOrder order;
  Images(const data::Dataset& dataset, const std::string& domain, uint64_t stream) : set(dataset, domain), order(set.size(), batch, seed, stream) {}

  at::Tensor load(int64_t step, training::Part part) const {
    const int64_t epoch = step / order.batches_per_epoch(), index = step % order.batches_per_epoch();
    return data::load_pairs(set, order.entries(epoch, index, part.first, part.last), {.resize = 64, .crop = 64}, seed, epoch).images;
  }
};

void train(comm::World& world, const std::string& root, const std::string& out) {
  const data::Dataset dataset(root);
  const auto& domains = dataset.manifest().domains;
  if (domains.size() != 2) throw core::UsageError("{}: this example wants two domains, not {}", root, domains.size());
  const Images a(dataset, domains[0], 0), b(dataset, domains[1], 1);
  const training::Part part = training::part_of(batch, world.rank(), world.size());  // of every batch

  Net net;
  net.to(world.device());
  training::DataParallel parallel(world, net);
  const auto optimizer = training::make_optimizer(net.parameters(), {.name = "sgd", .learning_rate = 0.05});
  const at::Tensor truth = at::cat({at::full({part.size()}, 0.0), at::full({part.size()}, 1.0)}).to(world.device(), at::kFloat);
  for (int64_t step = 0; step < steps; ++step) {
    const at::Tensor images = at::cat({a.load(step, part), b.load(step, part)});
    parallel.before_forward();
    // A rank's share of the loss: the sum over its own samples, divided by the number of all. Gradients are summed over ranks.
    const at::Tensor share = at::binary_cross_entropy_with_logits(net.forward(images), truth, {}, {}, at::Reduction::Sum) / (2.0 * batch);
    parallel.backward(share);
    optimizer->step();

    at::Tensor loss = share.detach();
    world.all_reduce_sum(loss, "summing the loss");  // every rank calls it; a rank that does not come is named after world's deadline
    if (world.is_root() && (step + 1) % 5 == 0) fmt::print("step {}: loss {:.3f}\n", step + 1, loss.item<double>());
  }
  world.root_only("saving the network", [&] { io::write_safetensors(out, nn::state_of(net)); });
}

}  // namespace

int main(int argc, char** argv) {
  return core::run_main([&] {
    if (argc != 3) throw core::UsageError("usage: mpirun -np 2 own_training DATASET OUT.safetensors");
    return comm::run_job({.device = "auto"}, [&](comm::World& world) {  // a GPU for each rank, if there is one
      train(world, argv[1], argv[2]);
      return core::ExitCode::done;
    });
  });
}
