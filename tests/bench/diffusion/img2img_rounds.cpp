// One side of bench_img2img_vs_diffusers.py: for each line of standard input, the name of a way, translates the batch once and prints the seconds it
// took by the clock and those of the processor.
#include <ATen/Parallel.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <iostream>
#include <limits>

#include "each_image.h"
#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/diffusion/pipeline.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/translate/translator.h"

using namespace syncdr;

namespace {

struct Sampling {
  std::string scheduler;  // empty: the checkpoint's
  int64_t steps = 50;
  double strength = 0.3, guidance = 10;
};

const Sampling few_steps{.scheduler = "LCMScheduler", .steps = 4, .strength = 0.5, .guidance = 1};

struct Options {
  std::string model, autoencoder, in, out, prompt = "an ink drawing";
  Sampling sampling;
  bool bf16 = false;
  int threads = 2;
};

at::Tensor noise(at::IntArrayRef shape, uint64_t image, uint32_t step) {
  const at::Tensor values = at::empty(shape, at::kFloat);
  core::Random(0, core::Purpose::noise, image, 0, step).fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        model_(diffusion::CheckpointFolder(options.model), {.dtype = options.bf16 ? at::kBFloat16 : at::kFloat}, {.autoencoder = options.autoencoder}),
        images_(io::read_safetensors(options.in).tensors.at("images")), text_(model_.encode_text({options.prompt})), negative_(model_.encode_text({""})) {}

  double seconds(const std::string& way) {
    at::set_num_threads(options_.threads);
    const auto start = std::chrono::steady_clock::now();
    at::Tensor painted;
    if (way == "image a thread") painted = image_a_thread(options_.sampling);
    else if (way == "few steps") painted = image_a_thread(few_steps);
    else if (way == "whole batch") painted = whole_batch(text_);
    else if (way == "whole batch, keys and values anew") painted = whole_batch(diffusion::TextContext(text_.text));
    else throw core::UsageError("no way \"{}\"", way);
    const double taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (!options_.out.empty()) io::write_safetensors(options_.out, {{"images", painted}});
    return taken;
  }

 private:
  at::Tensor image_a_thread(const Sampling& sampling) {
    return translate::each_image(images_, c10::kCPU, [&](const at::Tensor& part, int64_t first) { return paint(part, first, text_, sampling); });
  }

  at::Tensor whole_batch(const diffusion::TextContext& text) {
    const at::NoGradGuard no_grad;
    return paint(nn::from_bytes(images_, c10::kCPU), 0, text, options_.sampling);
  }

  at::Tensor paint(const at::Tensor& images, int64_t first, const diffusion::TextContext& text, const Sampling& sampling) {
    std::vector<int64_t> shape = model_.latent_shape(images.size(2), images.size(3));
    shape.insert(shape.begin(), images.size(0));
    const auto scheduler = model_.make_scheduler(sampling.scheduler);
    scheduler->set_steps(sampling.steps);
    const auto negative = text.prepared.empty() ? diffusion::TextContext(negative_.text) : negative_;
    const auto guidance = diffusion::text_guidance(text, negative, sampling.guidance);
    const auto key = static_cast<uint64_t>(first);
    return diffusion::img2img(
        model_, *scheduler, images, guidance, sampling.strength,
        {.encoding = noise(shape, key, 1), .start = noise(shape, key, 0), .step = [&](int64_t i) { return noise(shape, key, 2 + static_cast<uint32_t>(i)); }});
  }

  Options options_;
  diffusion::StableDiffusion model_;
  at::Tensor images_;  // [B, 3, H, W] uint8
  diffusion::TextContext text_, negative_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("one side of bench_img2img_vs_diffusers.py", "img2img_rounds");
  app.add_option("--model", options.model)->required();
  app.add_option("--autoencoder", options.autoencoder, "in place of the model's");
  app.add_option("--in", options.in, "images [B, 3, H, W] uint8 (.safetensors)")->required();
  app.add_option("--out", options.out, "where to write the last result [B, 3, H, W] (.safetensors)");
  app.add_option("--steps", options.sampling.steps);
  app.add_option("--strength", options.sampling.strength);
  app.add_option("--guidance", options.sampling.guidance);
  app.add_flag("--bf16", options.bf16, "compute in bfloat16");
  app.add_option("--threads", options.threads);
  CLI11_PARSE(app, argc, argv);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);  // freed memory is kept, as `syncdr` keeps it
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  return core::run_main([&] {
    Bench bench(options);
    for (std::string way; std::getline(std::cin, way);) {
      const std::clock_t of_processor = std::clock();
      const double by_clock = bench.seconds(way);
      std::cout << by_clock << ' ' << double(std::clock() - of_processor) / CLOCKS_PER_SEC << std::endl;
    }
    return 0;
  });
}
