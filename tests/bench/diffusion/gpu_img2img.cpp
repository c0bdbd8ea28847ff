// Diffusion on a GPU: does it compute what the CPU computes, how fast is it, where does the time go. launch/gpu_check.sh runs it and makes a table of what it
// prints, a JSON object a line. `--device cpu --small` goes through the same steps without a GPU.
//
// State of proof: run on CPUs only. Nobody has run it on a GPU yet.
#include <ATen/Context.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/core/Event.h>
#include <torch/version.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <tuple>

#include "flop_counter.h"
#include "random_checkpoint.h"
#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/diffusion/pipeline.h"

using namespace syncdr;
namespace fs = std::filesystem;

namespace {

/// The task of the comparisons with diffusers: strength, steps and guidance are gpu_img2img_diffusers.py's too.
constexpr double strength = 0.3, guidance_scale = 7.5, image_guidance_scale = 1.5;
constexpr int64_t steps = 50, instruct_steps = 10;
constexpr const char *first_prompt = "an ink drawing", *other_prompt = "a photograph of a lighthouse in the snow";

struct Options {
  std::string what, device = "cuda";
  bool small = false;
  std::vector<int64_t> batches{1, 4, 8};
  int rounds = 3;
};

/// One row of the table, at once: what follows may fail.
bool report(const std::string& row, const std::string& figure, bool ok, boost::json::object more = {}) {
  boost::json::object line{{"row", row}, {"figure", figure}, {"ok", ok}};
  line.insert(more.begin(), more.end());
  std::cout << boost::json::serialize(line) << std::endl;
  return ok;
}

/// The rows of one part; a part that throws (out of memory at a batch size) is a row that failed, and the others still run.
template <class Part> bool guarded(const std::string& row, const Part& part) {
  try {
    return part();
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return report(row, text.substr(0, text.find('\n')), false);
  }
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "syncdr-gpu-XXXXXX").string();
    if (!mkdtemp(name.data())) throw core::IoError("{}: no folder can be made there. Point TMPDIR to another one", fs::temp_directory_path().string());
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// With an index where it is a GPU. Throws UsageError if this machine or LibTorch has none.
c10::Device device_of(const std::string& name) {
  const c10::Device device(name);
  if (device.is_cpu()) return device;
  const auto* guard = c10::impl::hasDeviceGuardImpl(device.type()) ? c10::impl::getDeviceGuardImpl(device.type()) : nullptr;
  const int count = guard ? guard->deviceCount() : 0;
  const c10::DeviceIndex index = device.has_index() ? device.index() : 0;
  if (index >= count) throw core::UsageError("--device {}: LibTorch sees {} of them here. Use --device cpu", name, count);
  return {device.type(), index};
}

void wait_for(c10::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

/// Times between marks: of the device by its events, of a CPU by the host's clock.
class Stopwatch {
 public:
  explicit Stopwatch(c10::Device device) : device_(device) {}

  void mark() {
    times_.push_back(std::chrono::steady_clock::now());
    if (device_.is_cpu()) return;
    events_.emplace_back(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
    events_.back().record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  }
  std::vector<double> milliseconds() const {
    wait_for(device_);
    std::vector<double> all;
    for (size_t i = 1; i < times_.size(); ++i)
      all.push_back(device_.is_cpu() ? std::chrono::duration<double, std::milli>(times_[i] - times_[i - 1]).count() : events_[i - 1].elapsedTime(events_[i]));
    return all;
  }

 private:
  c10::Device device_;
  std::vector<std::chrono::steady_clock::time_point> times_;
  std::vector<c10::Event> events_;
};

at::Tensor draw(at::IntArrayRef shape, uint64_t key) {
  const at::Tensor values = at::empty(shape, at::kFloat);
  core::Random(0, core::Purpose::noise, key).fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

/// A model and a batch of random images with their noise, equal on all devices.
class Task {
 public:
  Task(const fs::path& checkpoint, c10::ScalarType dtype, c10::Device device, int64_t batch, int64_t side)
      : model_(diffusion::CheckpointFolder(checkpoint), {.dtype = dtype, .device = device}), device_(device) {
    set_batch(batch, side);
  }

  void set_batch(int64_t batch, int64_t side) {
    std::vector<int64_t> shape = model_.latent_shape(side, side);
    shape.insert(shape.begin(), batch);
    images_ = draw({batch, 3, side, side}, 1).clamp(-1, 1).to(device_);
    noise_ = {.encoding = draw(shape, 2).to(device_), .start = draw(shape, 3).to(device_), .step = {}};
  }

  std::vector<diffusion::Branch> guidance(const std::string& prompt) {
    return diffusion::text_guidance(model_.encode_text({prompt}), model_.encode_text({""}), guidance_scale);
  }
  at::Tensor img2img(const std::vector<diffusion::Branch>& guidance) {
    return diffusion::img2img(model_, *planned(steps), images_, guidance, strength, noise_);
  }
  at::Tensor instruct() {
    const auto guidance = diffusion::instruct_guidance(model_.encode_text({first_prompt}), model_.encode_text({""}), model_.image_condition(images_),
                                                       guidance_scale, image_guidance_scale);
    return diffusion::generate(model_, *planned(instruct_steps), guidance, noise_);
  }
  /// img2img() in its parts, with the encoding of the prompts: milliseconds of text, encoding, UNet, decoding.
  std::vector<double> parts() {
    const at::NoGradGuard no_grad;
    const auto scheduler = planned(steps);
    const int64_t start = scheduler->start_index(strength);
    Stopwatch watch(device_);
    watch.mark();
    const auto branches = guidance(first_prompt);
    watch.mark();
    const at::Tensor noised = scheduler->noise_to_step(model_.encode_image(images_, noise_.encoding), noise_.start, start);
    watch.mark();
    const at::Tensor latents = model_.denoise(branches, *scheduler, noised, {.first = start});
    watch.mark();
    model_.decode_image(latents);
    watch.mark();
    return watch.milliseconds();
  }
  int64_t calls() const {
    const auto scheduler = planned(steps);
    return static_cast<int64_t>(scheduler->timesteps().size()) - scheduler->start_index(strength);
  }
  diffusion::StableDiffusion& model() { return model_; }
  const at::Tensor& images() const { return images_; }

 private:
  std::unique_ptr<diffusion::Scheduler> planned(int64_t count) const {
    auto scheduler = model_.make_scheduler();
    scheduler->set_steps(count);
    return scheduler;
  }

  diffusion::StableDiffusion model_;
  c10::Device device_;
  at::Tensor images_;
  diffusion::PipelineNoise noise_;
};

/// A CPU records nothing: a row must not look as if it had.
std::string graph_row(const std::string& before, c10::Device device) { return before + (device.is_cpu() ? "CUDA graph (none on a CPU)" : "CUDA graph"); }

bool compare(const std::string& row, const at::Tensor& result, const at::Tensor& reference, double limit) {
  const at::Tensor expected = reference.to(at::kCPU, at::kDouble);
  const double error = ((result.to(at::kCPU, at::kDouble) - expected).norm() / expected.norm()).item<double>();
  return report(row, fmt::format("relative error {:.1e} (at most {:.0e})", error, limit), error <= limit, {{"error", error}});
}

/// The counter against shapes whose operations are known.
bool check_flop_counter(c10::Device device) {
  const at::NoGradGuard no_grad;
  const auto zeros = [&](at::IntArrayRef shape) { return at::zeros(shape, at::TensorOptions(device)); };
  const bench::FlopCounter counter;
  at::conv2d(zeros({2, 3, 8, 8}), zeros({5, 3, 3, 3}), {}, 1, 1);
  at::linear(zeros({2, 7, 4}), zeros({6, 4}), zeros({6}));
  at::scaled_dot_product_attention(zeros({2, 3, 10, 8}), zeros({2, 3, 12, 8}), zeros({2, 3, 12, 8}));
  const double expected = 2. * (2 * 5 * 8 * 8 * 3 * 9) + 2. * (2 * 7 * 6 * 4) + 2. * (2 * 3 * 10 * 12 * (8 + 8));
  return report("FLOP counter", fmt::format("{} operations, {} expected", counter.total(), expected), counter.total() == expected);
}

bool compare_devices(const fs::path& checkpoint, c10::Device device, const std::string& row, const std::function<at::Tensor(Task&)>& run) {
  constexpr int64_t batch = 2, side = 64;
  Task host(checkpoint, at::kFloat, c10::kCPU, batch, side);
  const at::Tensor expected = run(host);
  bool ok = true;
  for (const auto& [dtype, name, limit] : {std::tuple{at::kFloat, "fp32", 1e-3}, std::tuple{at::kBFloat16, "bf16", 5e-2}}) {
    Task task(checkpoint, dtype, device, batch, side);
    ok &= compare(fmt::format("parity {} {}", row, name), run(task), expected, limit);
  }
  return ok;
}

/// Recorded under one prompt, replayed under another: what was copied into the recording's place is seen too.
bool compare_recorded(const fs::path& checkpoint, c10::Device device) {
  Task task(checkpoint, at::kBFloat16, device, 2, 64);
  const at::Tensor expected = task.img2img(task.guidance(other_prompt));
  task.model().record_steps(true);
  task.img2img(task.guidance(first_prompt));
  return compare(graph_row("parity ", device) + " bf16", task.img2img(task.guidance(other_prompt)), expected, 1e-3);
}

bool parity(c10::Device device) {
  at::globalContext().setAllowTF32CuBLAS(false);
  at::globalContext().setAllowTF32CuDNN(false);
  const TemporaryFolder folder;
  const fs::path plain = folder.path() / "plain", instruct = folder.path() / "instruct";
  bench::write_random_checkpoint(plain, bench::small_sizes(4), at::kFloat);
  bench::write_random_checkpoint(instruct, bench::small_sizes(8), at::kFloat);
  bool ok = guarded("FLOP counter", [&] { return check_flop_counter(device); });
  const auto img2img = [](Task& task) { return task.img2img(task.guidance(first_prompt)); };
  ok &= guarded("parity img2img", [&] { return compare_devices(plain, device, "img2img", img2img); });
  ok &= guarded("parity instruct", [&] { return compare_devices(instruct, device, "instruct", [](Task& task) { return task.instruct(); }); });
  return guarded("parity CUDA graph", [&] { return compare_recorded(plain, device); }) && ok;
}

/// Operations of one call of img2img, all networks but the text's.
double count_operations(Task& task, const std::vector<diffusion::Branch>& guidance) {
  const bench::FlopCounter counter;
  task.img2img(guidance);
  return counter.total();
}

bool report_unet_call(Task& task, int64_t batch, int64_t side) {
  const at::NoGradGuard no_grad;
  const diffusion::TextContext text = task.model().encode_text({first_prompt});
  std::vector<int64_t> shape = task.model().latent_shape(side, side);
  shape.insert(shape.begin(), batch);
  const at::Tensor sample = draw(shape, 4).to(at::TensorOptions(task.model().device()).dtype(task.model().dtype()));
  const bench::FlopCounter counter;
  task.model().unet()->forward(sample, 500.0, text);
  std::string parts;
  for (const auto& [name, count] : counter.by_operator()) parts += fmt::format(", {} {:.0f} %", name.substr(6), 100 * count / counter.total());
  const double tflop = counter.total() / 1e12;
  return report(fmt::format("UNet, {} x {} latents, batch {}", shape[2], shape[3], batch), fmt::format("{:.4g} TFLOP a call{}", tflop, parts), true,
                {{"tflop", tflop}});
}

/// Images a second of img2img, its prompts encoded before: the median round.
bool report_speed(Task& task, const Options& options, int64_t batch, int64_t side, bool recorded) {
  task.model().record_steps(recorded);
  const auto guidance = task.guidance(first_prompt);
  task.img2img(guidance);  // kernels are chosen, memory is taken, the graph is recorded
  std::vector<double> seconds;
  for (int round = 0; round < options.rounds; ++round) {
    wait_for(task.model().device());
    const auto begin = std::chrono::steady_clock::now();
    task.img2img(guidance);
    wait_for(task.model().device());
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + options.rounds / 2, seconds.end());
  const double median = seconds[static_cast<size_t>(options.rounds / 2)], images = static_cast<double>(batch) / median;
  task.model().record_steps(false);
  const double tflops = count_operations(task, guidance) / median / 1e12;
  const std::string row = fmt::format("img2img {} px batch {}, {}", side, batch, recorded ? graph_row("", task.model().device()) : "no graph");
  return report(row, fmt::format("{:.3g} images/s, {:.3g} TFLOP/s", images, tflops), true,
                {{"batch", batch}, {"images_per_second", images}, {"tflops", tflops}});
}

bool report_parts(Task& task, int64_t batch) {
  task.parts();
  const std::vector<double> ms = task.parts();
  return report(fmt::format("time, batch {}", batch),
                fmt::format("text {:.1f} ms, encoding {:.1f} ms, {} UNet steps {:.1f} ms, decoding {:.1f} ms", ms[0], ms[1], task.calls(), ms[2], ms[3]), true,
                {{"text_ms", ms[0]}, {"encoding_ms", ms[1]}, {"unet_ms", ms[2]}, {"decoding_ms", ms[3]}});
}

bool speed(const Options& options, c10::Device device) {
  at::globalContext().setBenchmarkCuDNN(false);  // as the translators do, whose bytes may not depend on which algorithm was faster
  at::globalContext().setDeterministicCuDNN(true);
  const int64_t side = options.small ? 64 : 512;
  const TemporaryFolder folder;
  bench::write_random_checkpoint(folder.path(), options.small ? bench::small_sizes(4) : bench::stable_diffusion_15(), at::kHalf);
  Task task(folder.path(), at::kBFloat16, device, 1, side);
  bool ok = guarded("UNet", [&] { return report_unet_call(task, 1, side); });
  for (const int64_t batch : options.batches) {
    task.set_batch(batch, side);
    for (const bool recorded : {false, true})
      ok &= guarded(fmt::format("img2img batch {}", batch), [&] { return report_speed(task, options, batch, side, recorded); });
    ok &= guarded(fmt::format("time, batch {}", batch), [&] { return report_parts(task, batch); });
  }
  return ok;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("img2img on a GPU, for launch/gpu_check.sh", "gpu_img2img");
  app.add_option("what", options.what,
                 "parity: against the CPU, a small model; speed: images/s, TFLOP/s and parts, Stable Diffusion 1.5's sizes; flops: of its UNet; start: nothing")
      ->required()
      ->check(CLI::IsMember({"parity", "speed", "flops", "start"}));
  app.add_option("--device", options.device, "cuda, cuda:1, cpu");
  app.add_flag("--small", options.small, "speed of a small model at 64 pixels");
  app.add_option("--batches", options.batches)->delimiter(',');
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 100));
  CLI11_PARSE(app, argc, argv);
  return core::run_main([&] {
    const c10::Device device = device_of(options.device);
    if (options.what == "start") return report("start", fmt::format("LibTorch {}, {} seen", TORCH_VERSION, options.device), true) ? 0 : 1;
    if (options.what == "flops") options.batches.clear();
    return (options.what == "parity" ? parity(device) : speed(options, device)) ? 0 : 1;
  });
}
