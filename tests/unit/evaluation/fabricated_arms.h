#pragma once
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <fstream>
#include <string>

#include "flower_dataset.h"
#include "syncdr/evaluation/report.h"

namespace syncdr::test {

/// What an encoder of a given quality would reach on flowers: features are the category plus noise.
inline evaluation::Evaluation fabricated_evaluation(const FlowerDataset& flowers, double noise, uint64_t seed) {
  at::manual_seed(seed);
  const int64_t rows = flowers.rows("test");
  const auto labels = at::arange(rows).remainder(flowers.categories);
  const auto features = [&] { return at::one_hot(labels, flowers.categories).to(at::kFloat) + noise * at::randn({rows, flowers.categories}); };
  std::map<std::string, at::Tensor> of_domain;
  for (const std::string& domain : flowers.domains) of_domain[domain] = features();
  evaluation::Evaluation result{.cutoffs = {1, 5, 15}};
  for (const std::string& query : flowers.domains)
    for (const std::string& gallery : flowers.domains) {
      if (query == gallery) continue;
      const std::vector<evaluation::Measure> measures{1, 5, 15, 50, {evaluation::Measure::Kind::recall, 5}, {evaluation::Measure::Kind::average_precision, 0}};
      auto found = evaluation::measure(of_domain[query], of_domain[gallery], labels, labels, measures, 15);
      result.directions.push_back({.query_domain = query, .gallery_domain = gallery, .nearest = found.nearest, .queries = rows, .gallery = rows});
      for (auto& [measure, hits] : found.hits) result.hits[measure].push_back(std::move(hits));
    }
  result.categories = flowers.categories;
  const auto figures = evaluation::figures_of(result.hits, result.unit(), seed, 300);
  for (size_t i = 0; i < result.directions.size(); ++i) result.directions[i].figures = figures.directions[i];
  result.mean = figures.mean;
  return result;
}

/// A log as training writes it.
inline std::filesystem::path fabricated_log(const std::filesystem::path& file, double start, int64_t steps) {
  std::ofstream log(file);
  core::Random random(1, core::Purpose::order, static_cast<uint64_t>(start * 100));
  for (int64_t step = 0; step < steps; ++step) {
    const double loss = start * std::exp(-3.0 * static_cast<double>(step) / static_cast<double>(steps)) + 2 + 0.2 * random.normal();
    log << fmt::format("{{\"step\": {}, \"loss\": {}, \"loss_id\": {}, \"loss_ppp\": {}, \"learning_rate\": 0.001, \"images_per_second\": 512.5}}\n", step,
                       loss, loss * 0.7, loss * 0.2);
    if (step % (steps / 8) == steps / 8 - 1)
      log << fmt::format("{{\"step\": {}, \"val_score\": {}}}\n", step, 0.12 * (1 - std::exp(-3.0 * static_cast<double>(step) / static_cast<double>(steps))));
  }
  return file;
}

/// Baseline, main arm and a ceiling.
inline evaluation::ReportInput fabricated_input(const FlowerDataset& flowers) {
  evaluation::ReportInput input{.title = "Flowers <&> \"quoted\"", .split = "test", .domains = flowers.domains};
  const auto log = [&](const char* name, double start) { return fabricated_log(flowers.root / name, start, 800); };
  input.arms.push_back({"cds", "CDS, real images alone", {}, fabricated_evaluation(flowers, 1.3, 1), 0.08, 11, log("cds.jsonl", 6)});
  input.arms.push_back({"cut", "SynCDR, CUT translations", {"cut"}, fabricated_evaluation(flowers, 0.8, 2), 0.12, 14, log("cut.jsonl", 7)});
  input.arms.push_back({"true", "true counterparts", {"cut"}, fabricated_evaluation(flowers, 0.3, 3), 0.2, 15, log("true.jsonl", 8), true});
  input.curves.emplace_back("CUT, colour to ink", log("fit.jsonl", 3));
  input.configuration = "seed = 0\n\n[train]\nepochs = 15 # <not html>\n";
  return input;
}

}  // namespace syncdr::test
