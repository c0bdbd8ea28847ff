// A translator of one's own, applied to a dataset by syncdr's engine: claimed, sealed and resumed unit by unit, on any number of ranks.
//
// usage: mpirun -np 2 own_translator DATASET [KEY=VALUE ...]     keys of [translate], as size=64
//
// It leaves DATASET/synthetic/SOURCE-to-TARGET/poster for both directions. "poster" is then an arm: `syncdr train CONFIG --arm poster`.
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include "syncdr/comm/world.h"
#include "syncdr/core/config.h"
#include "syncdr/core/error.h"
#include "syncdr/core/philox.h"
#include "syncdr/data/dataset.h"
#include "syncdr/translate/engine.h"

using namespace syncdr;
using translate::Request;
using translate::TranslateConfig;
using translate::Translated;

namespace {

/// Pictures with few levels of each colour, and a tint that is drawn anew for each image and variant.
class Poster : public translate::Translator {
 public:
  Poster(const TranslateConfig& config, int64_t levels) : batch_(config.batch), size_(config.size), levels_(levels) {}
  int64_t batch() const override { return batch_; }
  int64_t size() const override { return size_; }
  bool is_random() const override { return true; }  // another variant gives another image

  /// images [batch, 3, size, size] bytes. An image may depend on its own pixels and its request alone: never on its neighbours, a generator
  /// that others have used, or the time. Then the results are the same on any number of ranks, and after any interruption.
  Translated translate(const at::Tensor& images, std::span<const Request> requests) override {
    const double step = 255.0 / static_cast<double>(levels_ - 1);
    at::Tensor posters = images.to(at::kFloat).div_(step).round_().mul_(step);
    for (int64_t i = 0; i < batch_; ++i) {
      const Request& request = requests[static_cast<size_t>(i)];
      core::Random random(request.seed, core::Purpose::noise, request.key_hash, static_cast<uint32_t>(request.variant));
      for (int64_t channel = 0; channel < 3; ++channel) posters[i][channel].mul_(random.uniform(0.6, 1));
    }
    return {posters.to(at::kByte), at::full({batch_}, true)};  // each image is finite: there is no network that could give NaN
  }

  /// All settings that the bytes depend on. The engine refuses to go on in a folder that was made with others.
  std::map<std::string, std::string> provenance() const override {
    return {{"translator", "poster"}, {"levels", std::to_string(levels_)}, {"size", std::to_string(size_)}};
  }

 private:
  int64_t batch_, size_, levels_;
};

void translate_both_ways(comm::World& world, const std::string& root, const std::vector<std::string>& settings) {
  const data::Dataset dataset(root);
  const auto& domains = dataset.manifest().domains;
  if (domains.size() != 2) throw core::UsageError("{}: this example wants two domains, not {}", root, domains.size());
  TranslateConfig config{.run = "poster", .variants = 2};
  core::read_config(core::visit_of(config), /*file=*/"", settings);
  Poster poster(config, /*levels=*/4);
  for (const auto& [source, target] : {std::pair(domains[0], domains[1]), std::pair(domains[1], domains[0])}) {
    const auto made = translate::translate_split(world, {dataset, source, target, "train"}, config, /*seed=*/0, poster);
    if (world.is_root()) fmt::print("{} to {}: {} made, {} were there, {} broken\n", source, target, made.images, made.skipped, made.quarantined);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return core::run_main([&] {
    if (argc < 2) throw core::UsageError("usage: mpirun -np 2 own_translator DATASET [KEY=VALUE ...]");
    return comm::run_job({.device = "cpu"}, [&](comm::World& world) {
      translate_both_ways(world, argv[1], {argv + 2, argv + argc});
      return core::ExitCode::done;
    });
  });
}
