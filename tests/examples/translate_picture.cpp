// Translates one picture with the small diffusion model that comes with syncdr, or another that `syncdr fit diffusion` has written.
//
// usage: translate_picture CHECKPOINT PICTURE TEXT OUT.png
//        translate_picture configs/models/emoji cat.png "an ink drawing" ink.png
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "syncdr/core/error.h"
#include "syncdr/data/augment.h"
#include "syncdr/data/codec.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/hash.h"
#include "syncdr/translate/translator.h"

using namespace syncdr;

namespace {

constexpr int64_t size = 64;  // pixels of a side: what the emoji model was trained with

/// Any PNG or JPEG file as a square: [1, 3, size, size] bytes.
at::Tensor read_picture(const std::string& file) {
  const std::string bytes = io::read_file(file);
  const std::span encoded(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  const data::Image image = data::decode(encoded, data::detect_codec(encoded));
  const at::Tensor pixels = at::empty({1, size, size, 3}, at::kByte);
  data::evaluation_view(image, {.resize = size, .crop = size}, pixels.data_ptr<uint8_t>());
  return pixels.permute({0, 3, 1, 2}).contiguous();
}

void write_picture(const std::string& file, const at::Tensor& picture) {  // [3, size, size]
  const at::Tensor pixels = picture.permute({1, 2, 0}).contiguous();
  const uint8_t* first = pixels.const_data_ptr<uint8_t>();
  const auto encoded = data::encode({size, size, {first, first + pixels.numel()}}, data::Codec::png);
  io::write_file(file, {reinterpret_cast<const char*>(encoded.data()), encoded.size()});
}

int translate_picture(int argc, char** argv) {
  if (argc != 5) throw core::UsageError("usage: translate_picture CHECKPOINT PICTURE TEXT OUT.png");
  const std::string checkpoint = argv[1], picture = argv[2], text = argv[3], out = argv[4];

  // What stands under [translate] in a configuration, with the values of configs/quickstart.toml.
  translate::TranslateConfig config{.translator = "structure", .size = size, .batch = 1};
  config.diffusion.checkpoint = checkpoint;
  config.diffusion.steps = 3;
  config.structure.guidance = 1;
  const auto translator = translate::make_translator(config, "source", "target", at::kCPU);

  // All that the result depends on besides pixels and model. `syncdr translate` hashes the picture's key in the dataset, not a path.
  const translate::Request request{.seed = 0, .key_hash = io::hash64(picture), .variant = 0, .prompt = text};
  const translate::Translated translated = translator->translate(read_picture(picture), {&request, 1});
  if (!translated.finite[0].item<bool>()) throw core::DataError("{}: the model's answer is not finite; try another seed or variant", picture);
  write_picture(out, translated.images[0]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return core::run_main([&] { return translate_picture(argc, argv); });
}
