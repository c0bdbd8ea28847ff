#include "report.h"

#include <algorithm>

#include "syncdr/core/log.h"
#include "syncdr/io/hash.h"
#include "syncdr/retrieval/encoder.h"

namespace syncdr::app {
namespace {

namespace fs = std::filesystem;

/// The arm whose training the maps show; null: none is trained.
const evaluation::ArmResult* mapped_arm(const Job& job, const std::vector<evaluation::ArmResult>& arms) {
  const evaluation::ArmResult* found = nullptr;
  for (const auto& arm : arms) {
    if (!Arm(arm.name).trained()) continue;
    if (arm.name == job.settings.run.main) return &arm;
    if (!found || (found->sets.empty() && !arm.sets.empty())) found = &arm;
  }
  return found;
}

}  // namespace

std::vector<evaluation::FeatureMap> feature_maps(Job& job, const std::vector<evaluation::ArmResult>& arms) {
  const auto* arm = mapped_arm(job, arms);
  if (!arm || job.settings.evaluate.tsne_points == 0) return {};
  core::info("t-SNE of {}", arm->name);
  std::vector<evaluation::FeatureMap> maps;
  const auto add = [&](retrieval::Encoder encoder, const std::string& title) {
    encoder->to(job.world.device());
    maps.push_back(evaluation::map_features(job.world, encoder, job.dataset, job.domains, arm->sets, job.settings.train.augment, job.settings.evaluate.batch,
                                            job.settings.evaluate.tsne_points, title));
  };
  add(retrieval::untrained_encoder(job.settings.train.encoder, job.seed()), "before training");
  add(retrieval::load_encoder(job.train_folder(Arm(arm->name)) / "encoder.safetensors"), "after training: " + arm->title);
  return maps;
}

evaluation::ReportInput report_input(const Job& job, std::vector<evaluation::ArmResult> arms, const std::string& split) {
  evaluation::ReportInput input;
  input.title = job.settings.run.title;
  input.domains = job.domains;
  input.split = split;
  input.baseline = "cds";
  input.main = job.settings.run.main;
  input.arms = std::move(arms);
  for (const auto& direction : job.directions()) {
    const auto log = job.cut_folder(direction) / "log.jsonl";
    if (fs::exists(log)) input.curves.emplace_back("CUT, " + direction.name(), log);
  }
  if (const auto log = job.diffusion_folder() / "log.jsonl"; fs::exists(log)) input.curves.emplace_back("diffusion", log);
  for (const auto& domain : job.domains)
    if (const auto log = job.textual_inversion_folder() / domain / "log.jsonl"; fs::exists(log)) input.curves.emplace_back("textual inversion, " + domain, log);
  if (const auto log = job.elite_mapper_folder() / "log.jsonl"; fs::exists(log)) input.curves.emplace_back("ELITE's mapper", log);
  Settings copy = job.settings, preset;
  input.configuration = core::write_config(core::visit_of(copy));
  const auto values = core::list_config(core::visit_of(copy)), presets = core::list_config(core::visit_of(preset));
  for (size_t i = 0; i < values.size(); ++i) input.settings.push_back({values[i].first, values[i].second, presets[i].second});
  input.seed = job.settings.seed;
  return input;
}

boost::json::object images_of(const Job& job, const std::string& split) {
  boost::json::object hashes;
  for (const auto& domain : job.domains) {
    const auto list = job.dataset.real(domain, split);
    std::string all;
    for (int64_t row = 0; row < list.rows(); ++row) {
      all += fmt::format("{} {}\n", list.label(row), list.key(row));
      if (all.size() > 1 << 20) all = io::hash128(all);  // however many there are
    }
    hashes[domain] = io::hash128(all);
  }
  return hashes;
}

}  // namespace syncdr::app
