// rooms: training
#include <gtest/gtest.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <numeric>

#include "mpi_test.h"
#include "syncdr/nn/batch_norm.h"
#include "syncdr/nn/unit_rows.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/optimizer.h"
#include "syncdr/training/part.h"

using namespace syncdr;
using test::world;
using training::DataParallel;
using training::Part;

namespace {

// Smooth activations: a ReLU at its kink turns a rounding error into another gradient.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    conv = register_module("conv", torch::nn::Conv2d(3, 8, 3));
    norm1 = register_module("norm1", nn::BatchNorm(8));
    hidden = register_module("hidden", torch::nn::Linear(8, 16));
    norm2 = register_module("norm2", nn::BatchNorm(16));
    out = register_module("out", torch::nn::Linear(16, 4));
    unused = register_parameter("frozen", at::randn({3}), /*requires_grad=*/false);
  }
  // [B, 3, 6, 6] -> [B, 4], unit rows
  at::Tensor forward(const at::Tensor& images) {
    const at::Tensor x = at::silu(norm1(conv(images))).mean({2, 3});
    return nn::unit_rows(out(at::silu(norm2(hidden(x)))));
  }
  torch::nn::Conv2d conv{nullptr};
  nn::BatchNorm norm1{nullptr}, norm2{nullptr};
  torch::nn::Linear hidden{nullptr}, out{nullptr};
  at::Tensor unused;
};
TORCH_MODULE(Net);

enum class Split { nearly_equal, first_rank_empty };

at::Tensor mine(const at::Tensor& whole, Split split) {
  const int rank = world().rank(), size = world().size();
  Part part = training::part_of(whole.size(0), rank, size);
  if (split == Split::first_rank_empty && size > 1) part = rank == 0 ? Part{} : training::part_of(whole.size(0), rank - 1, size - 1);
  return whole.narrow(0, part.first, part.size());
}

std::vector<at::Tensor> trained(const Net& net) {
  std::vector<at::Tensor> parameters = net->parameters();
  std::erase_if(parameters, [](const at::Tensor& parameter) { return !parameter.requires_grad(); });
  return parameters;
}

// The largest difference of two states' tensors.
double difference(const io::NamedTensors& a, const io::NamedTensors& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (const auto& [name, tensor] : a) largest = std::max(largest, (tensor - b.at(name)).abs().max().item<double>());
  return largest;
}

struct Global {
  int64_t rows;
  Split split;
  at::ScalarType type;
  double tolerance;
};
constexpr double float_tolerance = 1e-5, double_tolerance = 1e-9;
const Global globals[] = {{24, Split::nearly_equal, at::kFloat, float_tolerance},
                          {13, Split::nearly_equal, at::kFloat, float_tolerance},
                          {13, Split::nearly_equal, at::kDouble, double_tolerance},
                          {13, Split::first_rank_empty, at::kDouble, double_tolerance}};

// Trains one network over all ranks and one on this rank alone, on the same global batches; the losses take the network and two batches [B, 3, 6, 6].
using Loss = std::function<at::Tensor(Net&, const at::Tensor&, const at::Tensor&)>;
void expect_equal_training(const Global& global, const Loss& loss_of) {
  const std::string where = fmt::format("{} rows, {}", global.rows, c10::toString(global.type));
  torch::manual_seed(100 + world().rank());  // ranks begin with different weights
  Net net, reference;
  net->to(global.type);
  reference->to(global.type);
  DataParallel parallel(world(), *net);
  nn::load_state(*reference, nn::state_of(*net), "net");
  nn::set_batch_norm_mode(*net, nn::BatchNormMode::global, training::sum_over_ranks(world()));
  const training::OptimizerConfig config{.learning_rate = 0.02};
  const auto optimizer = training::make_optimizer(trained(net), config), reference_optimizer = training::make_optimizer(trained(reference), config);

  torch::manual_seed(5);  // the data, from here on equal on all ranks
  const at::Tensor base = at::randn({global.rows, 3, 6, 6}, global.type);
  for (int step = 0; step < 20; ++step) {
    const at::Tensor a = base + 0.3 * at::randn_like(base), b = base.flip(3) + 0.3 * at::randn_like(base);
    parallel.before_forward();
    at::Tensor loss = loss_of(net, mine(a, global.split), mine(b, global.split));
    parallel.backward(loss);
    optimizer->step();
    at::Tensor total = loss.detach().clone();
    world().all_reduce_sum(total, "loss");

    reference->zero_grad();
    const at::Tensor expected = loss_of(reference, a, b);
    expected.backward();
    reference_optimizer->step();
    EXPECT_NEAR(total.item<double>(), expected.item<double>(), global.tolerance) << "step " << step << ", " << where;
  }
  EXPECT_LT(difference(nn::state_of(*net), nn::state_of(*reference)), global.tolerance) << where;
  EXPECT_LT(difference(training::optimizer_state(*optimizer), training::optimizer_state(*reference_optimizer)), global.tolerance) << where;
}

}  // namespace

// Statistics of normalisation would be those of a part: frozen.
TEST(Training, GradientsInPartsAreThoseOfAWholeStep) {
  torch::manual_seed(9);
  Net whole, parts;
  for (Net* net : {&whole, &parts}) {
    (*net)->to(at::kDouble);
    nn::set_batch_norm_mode(**net, nn::BatchNormMode::frozen, {});
  }
  DataParallel parallel_whole(world(), *whole), parallel_parts(world(), *parts);
  nn::load_state(*parts, nn::state_of(*whole), "whole");
  const at::Tensor images = at::randn({7, 3, 6, 6}, at::kDouble) + world().rank();
  const auto share = [](Net& net, const at::Tensor& some) { return net(some).sin().sum(); };
  for (int step = 0; step < 3; ++step) {  // after the first one the reducer has rebuilt its buckets
    parallel_whole.before_forward();
    parallel_whole.backward(share(whole, images));
    parallel_parts.before_forward();
    const int64_t count = 2 + world().rank();  // ranks may differ
    parallel_parts.backward_in_parts(count, [&](int64_t k) {
      const Part part = training::part_of(7, static_cast<int>(k), static_cast<int>(count));
      return share(parts, images.narrow(0, part.first, part.size()));
    });
    for (size_t k = 0; k < parallel_whole.parameters().size(); ++k) {
      const at::Tensor expected = parallel_whole.parameters()[k].grad();
      EXPECT_LT((parallel_parts.parameters()[k].grad() - expected).abs().max().item<double>(), 1e-9) << k << " in step " << step;
      EXPECT_GT(expected.abs().max().item<double>(), 1e-6) << k;
    }
  }
}

TEST(Training, MeanLossOverRanksEqualsOneRank) {
  for (const Global& global : globals) {
    const Loss loss = [&](Net& net, const at::Tensor& a, const at::Tensor& b) {
      return (net(a) - b.mean({2, 3}).sum(1, true)).pow(2).sum() / static_cast<double>(global.rows);
    };
    expect_equal_training(global, loss);
  }
}

TEST(Training, EveryRankHoldsTheSameBits) {
  torch::manual_seed(3 + world().rank());
  Net net;
  DataParallel parallel(world(), *net);
  nn::set_batch_norm_mode(*net, nn::BatchNormMode::global, training::sum_over_ranks(world()));
  const auto optimizer = training::make_optimizer(trained(net), {.name = "adamw"});
  for (int step = 0; step < 3; ++step) {
    parallel.before_forward();
    parallel.backward(net(at::randn({4 + world().rank(), 3, 6, 6})).pow(3).sum());
    optimizer->step();
  }
  const std::string hash = nn::state_hash(*net);
  EXPECT_EQ(world().broadcast(hash, 0, "hash"), hash);
}

TEST(DataParallel, SendsTheStateOfRankZeroOfEveryType) {
  torch::manual_seed(50 + world().rank());
  Net net;
  net->norm1->running_mean.fill_(world().rank() + 1.5);
  net->norm1->num_batches_tracked.fill_(world().rank() + 7);
  net->out->to(at::kDouble);
  const DataParallel parallel(world(), *net);
  EXPECT_EQ(net->norm1->running_mean[3].item<double>(), 1.5);
  EXPECT_EQ(net->norm1->num_batches_tracked.item<int64_t>(), 7);
  torch::manual_seed(50);
  Net first;
  first->out->to(at::kDouble);
  EXPECT_TRUE(net->out->weight.equal(first->out->weight));
  EXPECT_TRUE(net->conv->weight.equal(first->conv->weight));
  EXPECT_TRUE(net->unused.equal(first->unused));
}

TEST(DataParallel, EachBackwardPassReplacesTheGradients) {
  torch::nn::Linear net(2, 1);
  DataParallel parallel(world(), *net);
  for (int step = 0; step < 3; ++step) {
    parallel.before_forward();
    parallel.backward(net(at::ones({1, 2})).sum());
    EXPECT_TRUE(net->weight.grad().allclose(at::full({1, 2}, static_cast<float>(world().size())))) << step;
  }
}

namespace {

struct BatchNormCase {
  std::vector<int64_t> shape;
  bool affine;
  at::MemoryFormat format = at::MemoryFormat::Contiguous;
};

// rows_of: rows of each rank, adding up to shape[0].
void expect_whole_batch_norm(const BatchNormCase& c, const std::vector<int64_t>& rows_of) {
  const int64_t channels = c.shape[1];
  torch::manual_seed(9);
  nn::BatchNorm whole(channels, c.affine), global(channels, c.affine);
  if (c.affine) {
    const torch::NoGradGuard no_grad;
    whole->weight.uniform_(0.5, 2);
    whole->bias.normal_();
  }
  for (auto* norm : {&whole, &global}) {
    (*norm)->to(at::kDouble);
    (*norm)->num_batches_tracked = (*norm)->num_batches_tracked.to(at::kLong);
  }
  nn::load_state(*global, nn::state_of(*whole), "whole");
  nn::set_batch_norm_mode(*global, nn::BatchNormMode::global, training::sum_over_ranks(world()));

  const at::Tensor input = (at::randn(c.shape, at::kDouble) * 2 - 5).contiguous(c.format), dy = at::randn(c.shape, at::kDouble).contiguous(c.format);
  const auto rank = static_cast<size_t>(world().rank());
  const int64_t first = std::accumulate(rows_of.begin(), rows_of.begin() + world().rank(), int64_t{0});
  const at::Tensor x = input.clone().requires_grad_(), part = input.narrow(0, first, rows_of[rank]).clone().requires_grad_();
  const at::Tensor expected = whole(x), result = global(part);
  expected.backward(dy);
  result.backward(dy.narrow(0, first, rows_of[rank]));

  EXPECT_TRUE(result.allclose(expected.narrow(0, first, rows_of[rank]), 1e-10, 1e-11));
  EXPECT_TRUE(part.grad().allclose(x.grad().narrow(0, first, rows_of[rank]), 1e-9, 1e-11));
  EXPECT_TRUE(global->running_mean.allclose(whole->running_mean, 1e-12, 1e-12));
  EXPECT_TRUE(global->running_var.allclose(whole->running_var, 1e-12, 1e-12));
  for (size_t k = 0; k < global->parameters().size(); ++k) {
    at::Tensor sum = global->parameters()[k].grad().clone();
    world().all_reduce_sum(sum, "gradient");
    EXPECT_TRUE(sum.allclose(whole->parameters()[k].grad(), 1e-10, 1e-11)) << "weight and bias: this rank's share";
  }
}

}  // namespace

TEST(BatchNormOverRanks, EqualsOneRankWithTheWholeBatch) {
  std::vector<int64_t> equal, uneven, one_empty;
  for (int rank = 0; rank < world().size(); ++rank) {
    equal.push_back(4);
    uneven.push_back(rank == world().size() - 1 ? 9 : 1);
    one_empty.push_back(rank == 0 && world().size() > 1 ? 0 : 3);
  }
  for (const auto& rows : {equal, uneven, one_empty}) {
    const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
    expect_whole_batch_norm({{total, 5}, true}, rows);
    expect_whole_batch_norm({{total, 5}, false}, rows);
    expect_whole_batch_norm({{total, 5, 3, 4}, true}, rows);
    expect_whole_batch_norm({{total, 5, 3, 4}, false, at::MemoryFormat::ChannelsLast}, rows);
  }
}
