#include "probe.h"
#include "syncdr/evaluation/evaluate.h"

using namespace syncdr;

SYNCDR_PROBE(measures,
             "queries [Q, D], gallery [N, D], query_labels [Q], gallery_labels [N] int64\n"
             "-> of each measure NAME: correct.NAME [Q'] double, possible.NAME [Q'] int64, of queries whose category the gallery has; nearest [Q, min(15, N)]\n"
             "TOML: of evaluate (cutoffs, further_cutoffs, recall, ...)") {
  evaluation::EvaluateConfig config;
  core::read_config_text(core::visit_of(config), toml, "--config");
  const auto found = evaluation::measure(in.at("queries"), in.at("gallery"), in.at("query_labels"), in.at("gallery_labels"), config.measures(), 15);
  io::NamedTensors out{{"nearest", found.nearest}};
  for (const auto& [measure, of_queries] : found.hits) {
    const auto count = std::ssize(of_queries.hits);
    const at::Tensor correct = at::empty({count}, at::kDouble), possible = at::empty({count}, at::kLong);
    for (int64_t q = 0; q < count; ++q) {
      correct.data_ptr<double>()[q] = of_queries.hits[static_cast<size_t>(q)].correct;
      possible.data_ptr<int64_t>()[q] = of_queries.hits[static_cast<size_t>(q)].possible;
    }
    out["correct." + evaluation::name_of(measure)] = correct;
    out["possible." + evaluation::name_of(measure)] = possible;
  }
  return out;
}
