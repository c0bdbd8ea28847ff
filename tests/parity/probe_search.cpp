#include "probe.h"
#include "syncdr/core/config.h"
#include "syncdr/search/text_tower.h"

using namespace syncdr;

namespace {

struct TextTowerConfig {
  std::string encoder, tokenizer;
  std::vector<std::string> texts;
  void visit(core::Fields& field) {
    field(encoder, "encoder", "");
    field(tokenizer, "tokenizer", "");
    field(texts, "texts", "");
  }
};

}  // namespace

SYNCDR_PROBE(text_tower,
             "--model: the weights file of a CLIP -> features [T, D] of texts, unit rows\n"
             "TOML: texts; tokenizer, the folder of the vocabulary; encoder, the row of the image side") {
  TextTowerConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  return {{"features", search::TextTower(model, config.tokenizer, config.encoder).features(config.texts)}};
}
