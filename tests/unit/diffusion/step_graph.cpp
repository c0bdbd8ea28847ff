#include "step_graph.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <torch/utils.h>
#include <boost/json/parse.hpp>

#include "diffusion/tiny_checkpoint.h"
#include "syncdr/diffusion/sampling.h"

// Only what a CPU can show: calls pass through. Recording and replaying need a GPU (launch/gpu_check.sh).
namespace syncdr::diffusion::step_graph_tests {
namespace {

TEST(StepGraph, PassesCallsOnWhereThereIsNothingToRecord) {
  StepGraph graph;
  int calls = 0;
  const auto sum = [&](const std::vector<at::Tensor>& changing, const std::vector<at::Tensor>& fixed) {
    ++calls;
    return changing[0] + fixed[0];
  };
  EXPECT_TRUE(at::equal(graph({at::ones({2})}, {at::ones({2})}, sum), 2 * at::ones({2})));
  EXPECT_TRUE(at::equal(graph({2 * at::ones({2})}, {at::ones({2})}, sum), 3 * at::ones({2})));
  EXPECT_EQ(calls, 2);
}

TEST(StepGraph, SamplingThroughItIsTheSame) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(3);
  UNet unet = TinyCheckpoint::make_unet();
  const at::Tensor sample = at::randn({2, 4, 6, 5}), hidden = at::randn({1, 7, 6}), other = at::randn({2, 7, 6});
  ConfigReader config(boost::json::parse(R"({"beta_schedule": "scaled_linear", "clip_sample": false})").as_object(), "scheduler");
  const auto scheduler = make_scheduler("DDIMScheduler", config);
  scheduler->set_steps(4);
  StepGraph graph;
  for (const std::vector<Branch>& guidance : {text_guidance(unet->prepare(hidden), unet->prepare(hidden * 2), 7.5), text_guidance(other, hidden, 1)})
    EXPECT_TRUE(at::equal(denoise(unet, guidance, *scheduler, sample, {.graph = &graph}), denoise(unet, guidance, *scheduler, sample)));
}

}  // namespace
}  // namespace syncdr::diffusion::step_graph_tests
