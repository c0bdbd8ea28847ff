#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/diffusion/text_encoder.h"
#include "syncdr/diffusion/tokenizer.h"

using namespace syncdr;

namespace {

struct TextProbeConfig {
  std::vector<std::string> add;

  void visit(core::Fields& field) { field(add, "add", "pseudo-words to add"); }
};

TextProbeConfig read_text_probe(const std::string& toml) {
  TextProbeConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  return config;
}

/// bytes [N] uint8, all texts after each other; ends [T] int64, where each ends.
std::vector<std::string> texts_of(const io::NamedTensors& in) {
  const at::Tensor bytes = in.at("bytes"), ends = in.at("ends");
  const char* data = reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>());
  std::vector<std::string> texts;
  int64_t begin = 0;
  for (int64_t i = 0; i < ends.size(0); ++i) {
    const int64_t end = ends[i].item<int64_t>();
    texts.emplace_back(data + begin, data + end);
    begin = end;
  }
  return texts;
}

}  // namespace

SYNCDR_PROBE(tokenize,
             "--model: a checkpoint, or its tokenizer. bytes [N] uint8, all T texts after each other, ends [T] int64, where each ends\n"
             "-> encoded [T, L] int64; whole [M] and whole_ends [T], the uncut ids of all texts after each other; added, the ids of the pseudo-words\n"
             "TOML: add (pseudo-words)") {
  const TextProbeConfig config = read_text_probe(toml);
  diffusion::Tokenizer tokenizer(parity::component_of(model, "tokenizer"));
  std::vector<int64_t> added, whole, ends;
  for (const std::string& token : config.add) added.push_back(tokenizer.add_token(token));
  const std::vector<std::string> texts = texts_of(in);
  for (const std::string& text : texts) {
    const std::vector<int64_t> ids = tokenizer.ids(text);
    whole.insert(whole.end(), ids.begin(), ids.end());
    ends.push_back(int64_t(whole.size()));
  }
  return {{"encoded", tokenizer.encode(texts)},
          {"whole", at::tensor(whole, at::kLong)},
          {"whole_ends", at::tensor(ends, at::kLong)},
          {"added", at::tensor(added, at::kLong)}};
}

SYNCDR_PROBE(text, "--model: a checkpoint. ids [B, L] int64 -> hidden [B, L, D], the last hidden state of its text encoder") {
  const torch::NoGradGuard no_grad;
  diffusion::TextEncoder encoder = diffusion::load_text_encoder(diffusion::CheckpointFolder(model));
  return {{"hidden", encoder->forward(in.at("ids"))}};
}
