#include "syncdr/diffusion/elite.h"

#include <torch/utils.h>

#include <algorithm>

#include "last_made.h"
#include "syncdr/core/error.h"
#include "syncdr/core/log.h"
#include "syncdr/diffusion/prompts.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/tokenizer.h"
#include "syncdr/io/hash.h"
#include "syncdr/nn/weights.h"

namespace syncdr::diffusion {
namespace {

MapperSurroundings surroundings_of(const CheckpointFolder& checkpoint, const EliteFiles& files) {
  const VisionEncoderConfig vision = read_vision_encoder_config(files.image_encoder);
  const auto text = read_text_encoder_config(checkpoint.component("text_encoder", "CLIPTextModel") / "config.json");
  return {.image_encoder = files.image_encoder.string(),
          .image_width = vision.width,
          .image_layers = vision.layers,
          .checkpoint = checkpoint.root().string(),
          .text_width = text.width,
          .attentions = cross_attentions(read_unet_config(checkpoint))};
}

}  // namespace

void check_elite_files(const CheckpointFolder& checkpoint, const EliteFiles& files) { load_word_mapper(files.mapper, surroundings_of(checkpoint, files)); }

int64_t subject_position(const Tokenizer& tokenizer, const std::string& text, int64_t vectors) {
  const std::string before = text.substr(0, subject_place(text, "a prompt"));
  const std::vector<int64_t> all = tokenizer.prompt_ids(text), subject = tokenizer.prompt_ids("S");
  const size_t place = tokenizer.prompt_ids(before).size();
  if (subject.size() != 1 || place >= all.size() || all[place] != subject[0])
    throw core::DataError("\"{}\": the tokenizer does not give the word S a token of its own", text);
  const auto position = 1 + static_cast<int64_t>(place);              // behind the start
  if (position + std::max<int64_t>(vectors, 2) > tokenizer.length())  // the last position is the end's
    throw core::DataError("\"{}\": the model has no room for the word S from position {} of {} on, where it is {} vectors long. Write it further in front",
                          text, position, tokenizer.length(), vectors);
  return position;
}

struct Elite::Networks {
  Networks(const CheckpointFolder& checkpoint, const EliteFiles& files, c10::Device device) : image_encoder(load_vision_encoder(files.image_encoder)) {
    std::string trained_with;
    mapper = load_word_mapper(files.mapper, surroundings_of(checkpoint, files), &trained_with);
    const std::string of_encoder = nn::state_hash(*image_encoder);
    if (!trained_with.empty() && trained_with != of_encoder && core::log_rank() == 0)
      core::warn("{} was trained with another image encoder than {}: its words will mean nothing", files.mapper.string(), files.image_encoder.string());
    hash = io::hash128(fmt::format("image_encoder {}\nmapper {}\n", of_encoder, nn::state_hash(*mapper)));
    image_encoder->to(device);
    mapper->to(device);
  }

  VisionEncoder image_encoder;
  WordMapper mapper{nullptr};
  std::string hash;
};

std::shared_ptr<Elite::Networks> Elite::networks_of(const CheckpointFolder& checkpoint, const EliteFiles& files, c10::Device device) {
  static LastMade<Networks> last;
  const std::string key = fmt::format("{}\n{}\n{}\n{}", checkpoint.root().string(), files.image_encoder.string(), files.mapper.string(), device.str());
  return last.get(key, [&] { return std::make_shared<Networks>(checkpoint, files, device); });
}

Elite::Elite(StableDiffusion& model, const CheckpointFolder& checkpoint, const EliteFiles& files)
    : model_(model), networks_(networks_of(checkpoint, files, model.device())), projections_(networks_->mapper->projections(model.dtype())) {}

at::Tensor Elite::words_of(const at::Tensor& images) {
  const torch::NoGradGuard no_grad;
  return networks_->mapper->forward(networks_->image_encoder->forward(images));
}

int64_t Elite::side() const { return networks_->image_encoder->config().side; }

TextContext Elite::encode_text(const std::vector<std::string>& texts, const at::Tensor& words) {
  const torch::NoGradGuard no_grad;
  std::vector<int64_t> positions;
  for (const std::string& text : texts) positions.push_back(subject_position(model_.tokenizer(), text, words.size(1)));
  const at::Tensor vectors = model_.text_encoder()->token_vectors(model_.tokenizer().encode(texts).to(model_.device()));
  return model_.unet()->prepare(model_.text_encoder()->encode(with_words(vectors, words.to(vectors.scalar_type()), positions)), projections_);
}

TextContext Elite::encode_text(const std::string& text) {
  const torch::NoGradGuard no_grad;
  return model_.unet()->prepare(model_.text_encoder()->forward(model_.tokenizer().encode({text}).to(model_.device())), projections_);
}

std::string Elite::cut_from(const std::string& text, int64_t words) const {
  const int64_t length = model_.tokenizer().length();
  return model_.tokenizer().cut_from(text, std::min(length - 2, length - words));  // what is shifted over the end is cut, the mark of the end first
}

std::string Elite::hash() const { return networks_->hash; }

}  // namespace syncdr::diffusion
