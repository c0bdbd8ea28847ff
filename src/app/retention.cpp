#include "retention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <boost/json/serialize.hpp>

#include "syncdr/core/log.h"
#include "syncdr/io/hash.h"
#include "syncdr/io/identity.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/retrieval/encoder.h"

namespace syncdr::app {
namespace {

namespace fs = std::filesystem;

/// All that the ranks are a function of, as text.
std::string identity_of(const Job& job, const std::string& set) {
  retrieval::EncoderConfig encoder = job.settings.train.encoder;
  data::AugmentConfig views = job.settings.train.augment;
  io::Identity identity = io::identity_of(core::visit_of(encoder), "encoder");
  identity.merge(io::identity_of(core::visit_of(views), "augment"));
  if (encoder.weights.empty()) identity["seed"] = std::to_string(job.settings.seed);
  else identity["weights"] = io::hash_file(encoder.weights);
  identity["dataset"] = io::hash_file(job.dataset.root() / "dataset.json");
  for (const auto& [source, target] : job.directions())
    identity[source + " to " + target] = io::hash_file(job.dataset.synthetic_folder(source, target, set) / "translation.json");
  return boost::json::serialize(io::to_json(identity));
}

}  // namespace

std::map<std::string, evaluation::PairRanks> pair_ranks_of(Job& job, const std::string& set) {
  const auto identity = identity_of(job, set);
  const auto file = job.kept_folder() / "retention" / fmt::format("{}-{}.safetensors", set, io::hash128(identity));
  bool missing = false;
  job.world.root_only("looking for retention", [&] { missing = !fs::exists(file); });
  if (job.world.any(missing, "agreeing on retention")) {
    core::info("retention: {}", set);
    auto encoder = retrieval::untrained_encoder(job.settings.train.encoder, job.seed());
    encoder->to(job.world.device());
    io::NamedTensors tensors;
    for (const auto& direction : job.directions()) {
      const auto ranks = evaluation::measure_retention(job.world, encoder, job.dataset, direction.source, direction.target, set, job.settings.train.augment,
                                                       job.settings.evaluate.batch);
      tensors[direction.name() + ".source"] = ranks.source;
      tensors[direction.name() + ".translation"] = ranks.translation;
    }
    job.world.root_only("writing retention", [&] {
      fs::create_directories(file.parent_path());
      io::write_safetensors(file, tensors, {{"identity", identity}});
    });
  }
  const auto tensors = io::read_safetensors(file).tensors;
  std::map<std::string, evaluation::PairRanks> ranks;
  for (const auto& direction : job.directions())
    ranks[direction.name()] = {tensors.at(direction.name() + ".source"), tensors.at(direction.name() + ".translation")};
  return ranks;
}

data::PairWeights pair_weights_of(Job& job, const std::string& set) {
  const auto& config = job.settings.train;
  if (config.retention == "off") return {};
  const bool drop = config.retention == "drop";
  data::PairWeights weights;
  std::vector<at::Tensor> parts;
  const auto all = pair_ranks_of(job, set);
  for (const auto& direction : job.directions()) {
    const auto& ranks = all.at(direction.name());
    const auto of_slots = drop ? ranks.share_before().le(config.retention_threshold).to(at::kDouble) : ranks.weights(config.retention_threshold);
    parts.push_back(of_slots.masked_select(ranks.source.gt(0)));
    weights[{direction.source, direction.target}] = of_slots;
  }
  const auto of_pairs = at::cat(parts);
  const int64_t pairs = of_pairs.numel(), dropped = of_pairs.eq(0).sum().item<int64_t>();
  if (dropped == pairs)
    throw core::DataError("train.retention_threshold = {} leaves none of the {} pairs of {}. Raise it, or set train.retention = \"off\"",
                          config.retention_threshold, pairs, set);
  if (drop)
    core::info("retention: {} of {} pairs of {} are left out: more than {} of the other images are nearer than their own", dropped, pairs, set,
               config.retention_threshold);
  else
    core::info("retention: {} pairs of {} count with weights of {:.3f} to {:.3f}, on average {:.3f}", pairs, set, of_pairs.min().item<double>(),
               of_pairs.max().item<double>(), of_pairs.mean().item<double>());
  return weights;
}

std::vector<evaluation::SetRetention> retention_of(const Job& job, const std::string& set, const std::map<std::string, evaluation::PairRanks>& ranks) {
  std::vector<evaluation::SetRetention> all;
  for (const auto& direction : job.directions()) all.push_back({set, direction.source, direction.target, evaluation::figures_of(ranks.at(direction.name()))});
  return all;
}

}  // namespace syncdr::app
