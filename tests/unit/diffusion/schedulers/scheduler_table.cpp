#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <fstream>

#include "syncdr/diffusion/scheduler.h"

namespace syncdr::diffusion {
namespace {

/// What the file of Stable Diffusion 1.5 says.
constexpr const char* published =
    R"("beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": false, "num_train_timesteps": 1000,
    "set_alpha_to_one": SET_ALPHA, "skip_prk_steps": SKIP_PRK, "steps_offset": 1, "trained_betas": null SPACING)";
constexpr int64_t steps = 50;
constexpr double strengths[] = {0.3, 0.5, 0.8};

/// A row of the table: a class, and what of its file is changed.
struct Row {
  std::string label, name;
  bool skip_prk_steps = true, set_alpha_to_one = false;
  bool refused = false;  ///< that is not allowed to begin in the middle

  std::unique_ptr<Scheduler> sampler(bool saved_again = false) const {
    std::string fields = published;
    const auto set = [&](const std::string& word, const std::string& value) { fields.replace(fields.find(word), word.size(), value); };
    set("SET_ALPHA", set_alpha_to_one ? "true" : "false");
    set("SKIP_PRK", skip_prk_steps ? "true" : "false");
    set("SPACING", saved_again ? R"(, "timestep_spacing": "leading")" : "");
    ConfigReader config(boost::json::parse("{" + fields + "}").as_object(), "scheduler_config.json");
    auto made = make_scheduler(name, config);
    made->set_steps(steps);
    return made;
  }
};

/// Also of samplers that are not allowed to begin there.
int64_t start_of(const Row& row, const Scheduler& sampler, double strength) {
  return row.refused ? steps - int64_t(double(steps) * strength) : sampler.start_index(strength);
}

/// How far from the original a trajectory ends if the network knows the noise: that which was mixed in at the start, or that which the sample holds at the
/// call. Original, noise and fresh noise are of size 1 and at right angles to each other, so there is no chance in the figure.
double left_over(Scheduler& sampler, int64_t start, bool mixed_in) {
  const at::Tensor axes = at::eye(3), original = axes[0], noise = axes[1], nothing = at::zeros_like(noise);
  sampler.reset();
  at::Tensor sample = sampler.noise_to_step(original, noise, start);
  for (int64_t i = start; i < int64_t(sampler.timesteps().size()); ++i) {
    const at::Tensor held = (sample - sampler.noise_to_step(original, nothing, i)) / sampler.noise_to_step(nothing, noise, i)[1];
    sample = sampler.step(mixed_in ? noise : held, i, sample, axes[2]);
  }
  return (sample - original).norm().item<double>();
}

std::string shown(double error) { return error < 1e-3 ? "< 0.001" : error < 10 ? fmt::format("{:.2g}", error) : fmt::format("{:.0f}", error); }

/// All of a row but its last column, which is words.
std::string figures(const Row& row) {
  const auto sampler = row.sampler();
  std::vector<std::string> calls, mixed_in, held;
  for (const double strength : strengths) {
    const int64_t start = start_of(row, *sampler, strength);
    calls.push_back(std::to_string(int64_t(sampler->timesteps().size()) - start));
    mixed_in.push_back(shown(left_over(*sampler, start, true)));
    held.push_back(shown(left_over(*sampler, start, false)));
  }
  const bool same = std::equal(mixed_in.begin(), mixed_in.end(), held.begin());
  const std::string first = fmt::format("{:g}, {:g}", sampler->timesteps()[0], row.sampler(true)->timesteps()[0]);
  // Fresh noise is not in a constant answer; a start in the middle that is refused amplifies rounding.
  return fmt::format("| {} | {} | {} | {} | {} | ", row.label, row.refused ? "refused" : fmt::format("{}", fmt::join(calls, ", ")), first,
                     sampler->wants_noise() ? "-" : fmt::format("{}", fmt::join(mixed_in, ", ")),
                     row.refused ? "-"
                     : same      ? "the same"
                                 : fmt::format("{}", fmt::join(held, ", ")));
}

const std::vector<Row>& rows() {
  static const std::vector<Row> all{{.label = "`PNDMScheduler`", .name = "PNDMScheduler"},
                                    {.label = "the same, `skip_prk_steps: false`", .name = "PNDMScheduler", .skip_prk_steps = false, .refused = true},
                                    {.label = "`DDIMScheduler`", .name = "DDIMScheduler"},
                                    {.label = "the same, `set_alpha_to_one: true`", .name = "DDIMScheduler", .set_alpha_to_one = true},
                                    {.label = "`DPMSolverMultistepScheduler`", .name = "DPMSolverMultistepScheduler"},
                                    {.label = "`EulerDiscreteScheduler`", .name = "EulerDiscreteScheduler"},
                                    {.label = "`EulerAncestralDiscreteScheduler`", .name = "EulerAncestralDiscreteScheduler"},
                                    {.label = "`LMSDiscreteScheduler`", .name = "LMSDiscreteScheduler"},
                                    {.label = "`UniPCMultistepScheduler`", .name = "UniPCMultistepScheduler"},
                                    {.label = "`DEISMultistepScheduler`", .name = "DEISMultistepScheduler"},
                                    {.label = "`HeunDiscreteScheduler`", .name = "HeunDiscreteScheduler"},
                                    {.label = "`LCMScheduler`", .name = "LCMScheduler"},
                                    {.label = "`TCDScheduler`", .name = "TCDScheduler"}};
  return all;
}

/// The lines of the README's table of samplers, without its head.
std::vector<std::string> table() {
  std::ifstream file(SYNCDR_SOURCE_DIR "/src/diffusion/schedulers/README.md");
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (inside && !line.starts_with("|")) break;
    if (inside) lines.push_back(line);
    inside = inside || line.starts_with("| sampler |");
  }
  if (!lines.empty()) lines.erase(lines.begin());  // |---|
  return lines;
}

TEST(SamplerTable, OfTheReadmeHasTheFiguresThatAreMeasuredHere) {
  const std::vector<std::string> lines = table();
  ASSERT_EQ(lines.size(), rows().size());
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_THAT(lines[i], testing::StartsWith(figures(rows()[i])));
}

TEST(SamplerTable, HasEverySampler) {
  for (const std::string& name : sampler_names())
    EXPECT_TRUE(std::any_of(rows().begin(), rows().end(), [&](const Row& row) { return row.name == name; })) << name;
}

}  // namespace
}  // namespace syncdr::diffusion
