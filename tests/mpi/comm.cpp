// rooms: comm
// World's collectives, the work queue and the gradient reducer, over MPI on the CPU.
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "mpi_test.h"
#include "syncdr/comm/gradient_reducer.h"
#include "syncdr/comm/work_queue.h"

namespace syncdr::comm {
namespace {

using test::world;

const at::ScalarType all_types[] = {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kInt, at::kLong, at::kByte};
const std::vector<std::vector<int64_t>> all_shapes = {{}, {0}, {1}, {7}, {3, 5}, {1000003}};

/// What rank r brings: small integers, so that every type adds them exactly whatever the order.
at::Tensor brought(int rank, const std::vector<int64_t>& shape, at::ScalarType type) {
  const auto count = c10::multiply_integers(shape);
  return (at::arange(count, at::kLong).remainder(11) + rank + 1).to(type).reshape(shape);
}

/// A tensor of values that no two orders of addition round alike.
at::Tensor rough(int64_t count, at::ScalarType type) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(17 + world().rank()));
  return (at::randn({count}, generator, at::kDouble) * at::pow(10.0, at::randn({count}, generator, at::kDouble))).to(type);
}

/// True if the tensor has the same bytes on every rank.
bool same_bits_everywhere(const at::Tensor& tensor) {
  auto bytes = tensor.contiguous().view({-1}).view(at::kByte);
  auto root = bytes.clone();
  world().broadcast(root, 0, "root's bytes");
  return world().all_reduce_max(!bytes.equal(root), "comparing bytes") == 0;
}

TEST(World, RanksAreNumberedWithinJobAndHost) {
  EXPECT_GE(world().rank(), 0);
  EXPECT_LT(world().rank(), world().size());
  EXPECT_EQ(world().local_rank(), world().rank());
  EXPECT_EQ(world().local_size(), world().size());
  EXPECT_EQ(world().backend(), "mpi");
  EXPECT_TRUE(world().device().is_cpu());
  EXPECT_FALSE(world().host().empty());
  EXPECT_GE(at::get_num_threads(), 1);
}

TEST(World, AllReduceSumsEveryTypeAndShape) {
  for (const auto type : all_types)
    for (const auto& shape : all_shapes) {
      auto tensor = brought(world().rank(), shape, type);
      auto expected = at::zeros(shape, type);
      for (int rank = 0; rank < world().size(); ++rank) expected += brought(rank, shape, type);
      world().all_reduce_sum(tensor, "sum");
      EXPECT_TRUE(tensor.equal(expected)) << type << ' ' << at::IntArrayRef(shape);
    }
}

TEST(World, AllReduceGivesEveryRankTheSameBits) {
  for (const auto type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16})
    for (const int64_t count : {1, 5, 1023, 70001, 1 << 20}) {
      auto tensor = rough(count, type);
      world().all_reduce_sum(tensor, "sum");
      EXPECT_TRUE(same_bits_everywhere(tensor)) << type << ' ' << count;
    }
}

TEST(World, HalfSumsAreRoundedFromFloat) {
  auto mine = rough(999, at::kHalf).clamp(-100, 100);
  auto all = world().all_gather_rows(mine.unsqueeze(0), "halves");
  world().all_reduce_sum(mine, "sum");
  const auto exact = all.to(at::kDouble).sum(0);
  const auto size = all.to(at::kDouble).abs().sum(0);
  EXPECT_LE(((mine.to(at::kDouble) - exact).abs() / (size + 1e-6)).max().item<double>(), 0.001 * world().size());
}

TEST(World, AllReduceWritesBackIntoStridedAndDifferentiableTensors) {
  auto base = at::ones({6, 4});
  auto strided = base.t();
  world().all_reduce_sum(strided, "strided");
  EXPECT_TRUE(base.equal(at::full({6, 4}, world().size())));
  auto parameter = at::ones({3}).requires_grad_();
  world().all_reduce_sum(parameter, "parameter");
  EXPECT_TRUE(parameter.detach().equal(at::full({3}, world().size())));
}

TEST(World, GatherKeepsRankOrderWithUnequalRows) {
  for (const auto type : all_types) {
    // Rank 0 brings no rows, rank 1 brings 3, rank 2 brings 6.
    auto rows = brought(world().rank(), {3 * world().rank(), 2, 3}, type);
    std::vector<at::Tensor> parts;
    for (int rank = 0; rank < world().size(); ++rank) parts.push_back(brought(rank, {3 * rank, 2, 3}, type));
    EXPECT_TRUE(world().all_gather_rows(rows, "rows").equal(at::cat(parts))) << type;
  }
}

TEST(World, GatherOfEqualRowsAndOfNone) {
  const auto size = world().size();
  const auto all = world().all_gather_rows(at::full({2, 1}, world().rank()), "equal");
  EXPECT_TRUE(all.equal(at::arange(size).repeat_interleave(2).unsqueeze(1).to(all.scalar_type())));
  EXPECT_EQ(world().all_gather_rows(at::empty({0, 5}), "none").sizes(), (at::IntArrayRef{0, 5}));
  EXPECT_EQ(world().all_gather_rows(at::empty({4, 0}), "no columns").sizes(), (at::IntArrayRef{4 * size, 0}));
}

TEST(World, BroadcastFromEveryRoot) {
  for (int root = 0; root < world().size(); ++root)
    for (const auto type : all_types)
      for (const auto& shape : all_shapes) {
        auto tensor = brought(world().rank(), shape, type);
        world().broadcast(tensor, root, "broadcast");
        EXPECT_TRUE(tensor.equal(brought(root, shape, type))) << root << ' ' << type;
      }
}

TEST(World, BroadcastOfTextKeepsLengthAndBytes) {
  const int last = world().size() - 1;
  for (const auto& text : {std::string(), std::string("a\0b", 3), std::string(100000, 'x')})
    EXPECT_EQ(world().broadcast(world().rank() == last ? text : "another text", last, "text"), text);
}

TEST(World, BroadcastOfNumbersBringsTheRootsCount) {
  const std::vector<int64_t> mine(static_cast<size_t>(world().rank()), 7);
  for (int root = 0; root < world().size(); ++root) EXPECT_EQ(world().broadcast(mine, root, "numbers"), std::vector<int64_t>(static_cast<size_t>(root), 7));
}

TEST(World, GatherOfTextsKeepsRankOrderAndLength) {
  const auto texts = world().gather(std::string(static_cast<size_t>(3 * world().rank()), 'x'), "texts");
  ASSERT_EQ(static_cast<int>(texts.size()), world().size());
  for (size_t rank = 0; rank < texts.size(); ++rank) EXPECT_EQ(texts[rank], std::string(3 * rank, 'x'));
}

TEST(World, AnyIsTrueWhereOneRankSaysSo) {
  EXPECT_TRUE(world().any(world().rank() == world().size() - 1, "one"));
  EXPECT_FALSE(world().any(false, "none"));
}

TEST(World, WorkTogetherEndsAlikeWithTheSmallestCode) {
  const auto work = [](int rank) {
    world().together("working", [&] {
      if (world().rank() == rank) throw core::DataError("broken on {}", rank);
      if (world().rank() == 0) throw core::IoError("a disk");  // 74: another one is more to blame
    });
  };
  const int last = world().size() - 1;
  try {
    work(last);
    FAIL() << "nobody threw";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.code(), core::ExitCode::bad_data);
    EXPECT_EQ(std::string(error.what()), fmt::format("broken on {}", last));
  }
  int calls = 0;
  world().together("working", [&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(World, MaxHoldsForNegativeAndLargeValues) {
  EXPECT_EQ(world().all_reduce_max(-5 - world().rank(), "max"), -5);
  const auto large = int64_t{1} << 62;
  EXPECT_EQ(world().all_reduce_max(world().rank() == world().size() - 1 ? large : 0, "max"), large);
}

TEST(World, ErrorOnRootIsThrownOnEveryRankWithItsCode) {
  int ran = 0;
  world().root_only("fine", [&] { ++ran; });
  EXPECT_EQ(ran, world().is_root() ? 1 : 0);
  try {
    world().root_only("writing the manifest", [] { throw core::DataError("row {} is broken", 7); });
    ADD_FAILURE() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.code(), core::ExitCode::bad_data);
    EXPECT_STREQ(error.what(), "row 7 is broken");
  }
  EXPECT_THROW(world().root_only("a foreign error", [] { throw std::out_of_range("index"); }), core::Error);
  world().barrier("ranks are still in step");
}

TEST(MpiBackend, SeveralOperationsInFlightEndInAnyOrderOfWaiting) {
  std::vector<std::vector<at::Tensor>> tensors;
  std::vector<c10::intrusive_ptr<c10d::Work>> works;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back({at::full({i * 5000 + 1}, static_cast<float>(i + world().rank()))});
    works.push_back(world().group()->allreduce(tensors.back()));
  }
  const auto ranks = world().size();
  for (int i = 19; i >= 0; --i) {
    works[static_cast<size_t>(i)]->wait();
    EXPECT_TRUE(works[static_cast<size_t>(i)]->isCompleted());
    EXPECT_TRUE(works[static_cast<size_t>(i)]->getFuture()->completed());
    const auto sum = static_cast<float>(i * ranks + ranks * (ranks - 1) / 2);
    EXPECT_TRUE(tensors[static_cast<size_t>(i)][0].equal(at::full({i * 5000 + 1}, sum))) << i;
  }
}

TEST(MpiBackend, ResultsArriveThroughTheFutureWithoutWaitOnTheWork) {
  std::vector<at::Tensor> tensor{at::ones({300000})};
  auto future = world().group()->allreduce(tensor)->getFuture();  // the work itself is dropped at once
  future->wait();
  EXPECT_TRUE(future->value().toTensorVector()[0].equal(at::full({300000}, world().size())));
}

TEST(MpiBackend, GathersInParts) {
  const auto size = world().size();
  std::vector<at::Tensor> mine{brought(world().rank(), {5}, at::kInt)};
  std::vector<std::vector<at::Tensor>> gathered(1);
  for (int rank = 0; rank < size; ++rank) gathered[0].push_back(at::empty({5}, at::kInt));
  world().group()->allgather(gathered, mine)->wait();
  for (int rank = 0; rank < size; ++rank) EXPECT_TRUE(gathered[0][static_cast<size_t>(rank)].equal(brought(rank, {5}, at::kInt)));
}

/// The flat form, by the name of either generation of c10d: the newer one calls the older one deprecated.
template <class Group> void gather_flat(Group& group, at::Tensor& output, at::Tensor& input) {
  if constexpr (requires { group.all_gather_single(output, input); }) group.all_gather_single(output, input)->wait();
  else group._allgather_base(output, input)->wait();
}

TEST(MpiBackend, TheFlatFormReachesItUnderTheNameOfThisC10d) {
  const auto size = world().size();
  const auto all = at::arange(4 * size, at::kBFloat16);
  auto part = all.narrow(0, 4 * world().rank(), 4).clone(), gathered = at::empty({4 * size}, at::kBFloat16);
  gather_flat(*world().group(), gathered, part);
  EXPECT_TRUE(gathered.equal(all));
}

TEST(MpiBackend, RefusesWhatItCannotReduce) {
  std::vector<at::Tensor> flags{at::ones({2}, at::kBool)};
  EXPECT_THROW(world().group()->allreduce(flags), core::BugError);
  std::vector<at::Tensor> strided{at::ones({2, 3}).t()};
  EXPECT_THROW(world().group()->allreduce(strided), core::BugError);
  world().barrier("ranks are still in step");
}

TEST(WorkQueue, EveryUnitIsClaimedExactlyOnce) {
  constexpr int64_t units = 500;
  WorkQueue queue(world(), "claims", units), other(world(), "other", 1);
  auto claimed = at::zeros({units}, at::kLong);
  while (const auto unit = queue.claim()) claimed[*unit] += 1;
  EXPECT_FALSE(queue.claim().has_value());
  world().all_reduce_sum(claimed, "claims");
  EXPECT_TRUE(claimed.equal(at::ones({units}, at::kLong)));
  // A second queue counts for itself, and one without units gives none.
  auto got = at::full({1}, other.claim().has_value() ? 1 : 0, at::kLong);
  world().all_reduce_sum(got, "the other queue's unit");
  EXPECT_EQ(got.item<int64_t>(), 1);
  EXPECT_FALSE(WorkQueue(world(), "empty", 0).claim().has_value());
}

/// Three layers, more than one bucket (2.1 MiB, 4.2 MiB, 41 KiB), the same on every rank.
torch::nn::Sequential make_net() {
  torch::manual_seed(3);
  return torch::nn::Sequential(torch::nn::Linear(512, 1024), torch::nn::ReLU(), torch::nn::Linear(1024, 1024), torch::nn::ReLU(), torch::nn::Linear(1024, 10));
}

at::Tensor loss_of(torch::nn::Sequential& net, int step, int rank) {
  auto generator = at::detail::createCPUGenerator(static_cast<uint64_t>(100 * step + rank));
  return net->forward(at::randn({8, 512}, generator)).pow(2).mean();
}

TEST(GradientReducer, StepsEqualStepsWithHandAveragedGradients) {
  auto reduced = make_net(), by_hand = make_net();
  GradientReducer reducer(world(), reduced->parameters());
  torch::optim::SGD reduced_optimizer(reduced->parameters(), 0.05), hand_optimizer(by_hand->parameters(), 0.05);
  for (int step = 0; step < 4; ++step) {  // the reducer rebuilds its buckets before the second step
    reduced_optimizer.zero_grad(/*set_to_none=*/step % 2 == 0);
    reducer.before_forward();
    auto loss = loss_of(reduced, step, world().rank());
    reducer.before_backward();
    loss.backward();

    hand_optimizer.zero_grad();
    for (int rank = 0; rank < world().size(); ++rank) (loss_of(by_hand, step, rank) / world().size()).backward();

    for (size_t i = 0; i < reduced->parameters().size(); ++i) {
      const auto got = reduced->parameters()[i].grad(), expected = by_hand->parameters()[i].grad();
      EXPECT_TRUE(at::allclose(got, expected, 1e-4, 1e-7)) << "step " << step << " parameter " << i << ": " << (got - expected).abs().max();
      EXPECT_TRUE(same_bits_everywhere(got)) << "step " << step << " parameter " << i;
    }
    reduced_optimizer.step();
    hand_optimizer.step();
  }
}

/// A resumed training begins with a first step: were its buckets others than those of later steps, its sums would have other bits.
TEST(GradientReducer, TheFirstStepHasTheBitsOfLaterOnes) {
  torch::nn::Sequential net(torch::nn::Linear(300, 700), torch::nn::Linear(700, 500), torch::nn::Linear(500, 3));
  for (auto& parameter : net->parameters()) {
    const torch::NoGradGuard no_grad;
    parameter.copy_(rough(parameter.numel(), at::kFloat).view(parameter.sizes()) * 0.01);
    world().broadcast(parameter, 0, "equal weights");
  }
  GradientReducer reducer(world(), net->parameters());
  const auto input = rough(8 * 300, at::kFloat).view({8, 300});
  std::vector<at::Tensor> first;
  for (int step = 0; step < 3; ++step) {
    net->zero_grad();
    reducer.before_forward();
    const auto loss = net->forward(input).square().sum();
    reducer.before_backward();
    loss.backward();
    for (size_t i = 0; i < net->parameters().size(); ++i) {
      const auto gradient = net->parameters()[i].grad();
      if (step == 0) first.push_back(gradient.clone());
      else EXPECT_TRUE(gradient.equal(first[i])) << "step " << step << ", parameter " << i;
    }
  }
}

TEST(GradientReducer, FrozenParametersAreLeftAlone) {
  auto net = make_net();
  net[0]->as<torch::nn::Linear>()->weight.set_requires_grad(false);
  GradientReducer reducer(world(), net->parameters());
  reducer.before_forward();
  auto loss = loss_of(net, 0, world().rank());
  reducer.before_backward();
  loss.backward();
  EXPECT_FALSE(net[0]->as<torch::nn::Linear>()->weight.grad().defined());
  EXPECT_TRUE(same_bits_everywhere(net[2]->as<torch::nn::Linear>()->weight.grad()));
}

}  // namespace
}  // namespace syncdr::comm
