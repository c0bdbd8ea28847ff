#include "syncdr/core/config.h"

#include "fuzz.h"
#include "syncdr/diffusion/prompts.h"

using namespace syncdr;

namespace {

struct Inner {
  double weight = 1;
  std::string word = "a";
  template <class Visitor> void visit(Visitor& field) {
    field(weight, "weight", "", core::above(0.0));
    field(word, "word", "", core::Choices{"a", "b"});
  }
};

/// A field of each kind.
struct Settings {
  bool on = false;
  int64_t count = 3;
  double rate = 0.5;
  std::string name = "x";
  std::vector<int64_t> numbers;
  std::vector<double> rates;
  std::vector<std::string> words;
  Inner inner;
  std::vector<Inner> list;
  template <class Visitor> void visit(Visitor& field) {
    field(on, "on", "");
    field(count, "count", "", core::at_least(1));
    field(rate, "rate", "");
    field(name, "name", "");
    field(numbers, "numbers", "", core::between(-5, 5));
    field(rates, "rates", "");
    field(words, "words", "");
    field.group(inner, "inner", "");
    field.list(list, "list", "");
  }
};

}  // namespace

// Configurations and prompt files; the first byte says whether it is a setting of the command line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::MemoryFile file;
  if (size == 0) return -1;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Settings settings;
  const bool read = fuzz::accepts([&] {
    if (data[0] == '-') core::read_config(core::visit_of(settings), {}, {text});
    else core::read_config_text(core::visit_of(settings), text, "input");
  });
  if (read) {
    Settings again;
    const std::string written = core::write_config(core::visit_of(settings));
    core::read_config_text(core::visit_of(again), written, "what was written");
    fuzz::require(core::write_config(core::visit_of(again)) == written, "a configuration reads back changed\n");
  }
  fuzz::accepts([&] { diffusion::read_prompt(file.with({data + 1, size - 1}).path(), "photo", diffusion::PromptKind::subject); });
  return 0;
}
