// One side of bench_img2img_vs_diffusers.py: for each line of standard input, the name of a way, translates the batch once and prints the seconds.
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>

#include "each_image.h"
#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/diffusion/pipeline.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/nn/pixels.h"
#include "syncdr/translate/translator.h"

using namespace syncdr;

namespace {

struct Options {
  std::string model, in, prompt = "an ink drawing";
  int64_t steps = 50;
  double strength = 0.3, guidance = 10;
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
      : options_(options), model_(diffusion::CheckpointFolder(options.model), {}), images_(io::read_safetensors(options.in).tensors.at("images")),
        text_(model_.encode_text({options.prompt})), negative_(model_.encode_text({""})) {}

  double seconds(const std::string& way) {
    at::set_num_threads(options_.threads);
    const auto start = std::chrono::steady_clock::now();
    if (way == "image a thread") translate::each_image(images_, c10::kCPU, [&](const at::Tensor& part, int64_t first) { return paint(part, first, text_); });
    else if (way == "whole batch") whole_batch(text_);
    else if (way == "whole batch, keys and values anew") whole_batch(diffusion::TextContext(text_.text));
    else throw core::UsageError("no way \"{}\"", way);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  void whole_batch(const diffusion::TextContext& text) {
    const at::NoGradGuard no_grad;
    paint(nn::from_bytes(images_, c10::kCPU), 0, text);
  }

  at::Tensor paint(const at::Tensor& images, int64_t first, const diffusion::TextContext& text) {
    std::vector<int64_t> shape = model_.latent_shape(images.size(2), images.size(3));
    shape.insert(shape.begin(), images.size(0));
    const auto scheduler = model_.make_scheduler();
    scheduler->set_steps(options_.steps);
    const auto negative = text.prepared.empty() ? diffusion::TextContext(negative_.text) : negative_;
    const auto guidance = diffusion::text_guidance(text, negative, options_.guidance);
    const auto key = static_cast<uint64_t>(first);
    return diffusion::img2img(model_, *scheduler, images, guidance, options_.strength,
                              {.encoding = noise(shape, key, 1), .start = noise(shape, key, 0), .step = {}});
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
  app.add_option("--in", options.in, "images [B, 3, H, W] uint8 (.safetensors)")->required();
  app.add_option("--steps", options.steps);
  app.add_option("--strength", options.strength);
  app.add_option("--guidance", options.guidance);
  app.add_option("--threads", options.threads);
  CLI11_PARSE(app, argc, argv);
  return core::run_main([&] {
    Bench bench(options);
    for (std::string way; std::getline(std::cin, way);) std::cout << bench.seconds(way) << std::endl;
    return 0;
  });
}
