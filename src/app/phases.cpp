#include "phases.h"

#include <algorithm>
#include <map>

#include "syncdr/core/log.h"
#include "syncdr/io/json.h"
#include "syncdr/translate/engine.h"

namespace syncdr::app {
namespace {

constexpr int64_t score_cutoff = 1;  // the best epoch is the one with the highest mean validation Prec@1 (method)

std::string title_of(const Job& job, const Arm& arm) {
  static const std::map<std::string, std::string> titles{{"cds", "CDS (real images alone)"},
                                                         {"filter", "SynCDR, filter (control)"},
                                                         {"cut", "SynCDR, CUT translations"},
                                                         {"true", "SynCDR, true counterparts (ceiling)"},
                                                         {"structure", "SynCDR, structure diffusion"},
                                                         {"img2img", "SynCDR, img2img diffusion"},
                                                         {"instruct", "SynCDR, InstructPix2Pix"},
                                                         {"ddib", "SynCDR, DDIB"}};
  const auto found = titles.find(arm.base);
  std::string title = found == titles.end() ? "SynCDR, " + job.set_of(arm) : found->second;
  if (!arm.is_diffusion() && arm.variants == 0) return title;
  const int64_t variants = arm.variants > 0 ? arm.variants : job.settings.translate.variants;
  return fmt::format("{}, {} variant{}", title, variants, variants == 1 ? "" : "s");
}

}  // namespace

Job::Job(comm::World& world_, const Settings& settings_) : world(world_), settings(settings_), dataset(settings_.data.root), out(settings_.run.out) {
  std::vector<std::string> domains = settings.data.domains.empty() ? dataset.manifest().domains : settings.data.domains;
  if (domains.size() != 2)
    throw core::UsageError("{}: the dataset has {} domains ({}). Choose two: data.domains = [\"...\", \"...\"].", dataset.root().string(), domains.size(),
                           fmt::join(domains, ", "));
  domain_a = domains[0];
  domain_b = domains[1];
}

std::string Job::set_of(const Arm& arm) const {
  if (arm.base == "cds") return "";
  if (!arm.is_translator()) return arm.base;
  if (arm.base == settings.translate.translator && !settings.translate.run.empty()) return settings.translate.run;
  return out.filename().string() + "-" + arm.base;
}

void fit_phase(Job& job, const std::string& translator) {
  const translate::TranslateConfig& config = job.settings.translate;
  if (translator == "cut" && config.cut.weights.empty()) fit_cut_phase(job);
  if (Arm(translator).is_diffusion() && config.diffusion.checkpoint.empty()) fit_diffusion_phase(job);
}

void check_resume(Job& job, const std::vector<std::filesystem::path>& marks) {
  const std::string& mode = job.settings.resume;
  if (mode == "auto") return;
  job.world.root_only("looking for what an earlier run has left", [&] {
    const auto found = std::find_if(marks.begin(), marks.end(), [](const auto& mark) { return std::filesystem::exists(mark); });
    if (mode == "never" && found != marks.end())
      throw core::UsageError("{} is there, and resume = \"never\". Choose another run.out, remove what is there, or go on from it with --resume auto", found->string());
    if (mode == "require" && found == marks.end())
      throw core::UsageError("there is nothing to go on from ({} does not exist), and resume = \"require\". Is run.out right? --resume auto begins anew",
                             marks.front().string());
  });
}

void fit_cut_phase(Job& job) {
  for (const auto& direction : job.directions())
    fit::fit_cut(job.task(direction, job.fit_folder("cut", direction)), job.settings.fit.cut);
}

void fit_diffusion_phase(Job& job) {
  fit::fit_diffusion(job.task(job.directions()[0], job.diffusion_folder()), job.settings.fit.diffusion);
}

boost::json::object translate_phase(Job& job, const std::string& translator) {
  translate::TranslateConfig asked = job.settings.translate;
  asked.translator = translator;
  for (const auto& direction : job.directions()) translate::check_texts(job.dataset, direction.source, direction.target, "train", asked);
  boost::json::object figures;
  for (const auto& direction : job.directions()) {
    translate::TranslateConfig config = job.settings.translate;
    config.translator = translator;
    config.run = job.set_of(Arm(translator));
    if (translator == "cut" && config.cut.weights.empty()) config.cut.weights = (job.fit_folder("cut", direction) / "generator.safetensors").string();
    if (config.diffusion.checkpoint.empty() && std::filesystem::exists(job.diffusion_folder()))
      config.diffusion.checkpoint = (job.diffusion_folder() / "checkpoint").string();
    const auto made = translate::make_translator(config, direction.source, direction.target, job.world.device());
    // One setting for all translators of a job: those that draw nothing have one variant.
    if (!made->is_random() && translator != job.settings.translate.translator) config.variants = 1;
    const auto result = translate::translate_split(job.world, job.dataset, direction.source, direction.target, "train", config,
                                                   static_cast<uint64_t>(job.settings.seed), *made);
    figures[direction.name()] = {{"images", result.images},
                                 {"skipped", result.skipped},
                                 {"redrawn", result.redrawn},
                                 {"quarantined", result.quarantined},
                                 {"seconds", result.seconds},
                                 {"compute_seconds", result.compute_seconds},
                                 {"ranks", job.world.size()},
                                 {"images_by_rank", boost::json::array(result.images_by_rank.begin(), result.images_by_rank.end())},
                                 {"batch", made->batch()},
                                 {"variants", config.variants},
                                 {"unit_rows", config.unit_rows},
                                 {"taper", config.taper}};
  }
  return figures;
}

boost::json::object train_phase(Job& job, const Arm& arm) {
  const auto& settings = job.settings;
  retrieval::TrainConfig config = settings.train;
  if (arm.variants > 0) config.variants = arm.variants;
  const auto validate = [&](retrieval::Encoder& encoder) {
    evaluation::EvaluateConfig score = settings.evaluate;
    score.cutoffs = {score_cutoff};
    score.resamples = 100;  // the interval is not looked at
    score.mean_average_precision = false;
    const auto result = evaluation::evaluate(job.world, encoder, job.dataset, job.domain_a, job.domain_b, "val", settings.train.augment, score,
                                             static_cast<uint64_t>(settings.seed));
    return job.world.is_root() ? result.mean_precision(score_cutoff) : 0.0;
  };
  core::info("train {}: {}", arm.name, title_of(job, arm));
  const auto result = retrieval::train(job.task(job.directions()[0], job.train_folder(arm)), job.set_of(arm), config, validate);
  boost::json::object figures{{"best_score", result.best_score}, {"best_epoch", result.best_epoch}, {"steps_in_all", result.steps}, {"ranks", job.world.size()}};
  if (result.steps_now > 0) {
    figures["steps"] = result.steps_now;
    figures["seconds"] = result.step_seconds;
    figures["validation_seconds"] = result.validation_seconds;
    figures["images_per_step"] = result.images_per_step;
    figures["parameters"] = result.parameters;
    figures["feature_dim"] = config.encoder.dim;
  }
  return figures;
}

evaluation::Arm evaluate_phase(Job& job, const Arm& arm, const std::string& split) {
  const auto folder = job.train_folder(arm);
  const auto done = io::read_json(folder / "done.json");
  const auto where = (folder / "done.json").string();
  evaluation::Arm result;
  result.name = arm.name;
  result.title = title_of(job, arm);
  result.run = job.set_of(arm);
  result.ceiling = arm.base == "true";
  result.validation_score = io::json_double(io::as_object(done, where), "best_score", where);
  result.best_epoch = io::json_int(io::as_object(done, where), "best_epoch", where);
  result.log = folder / "log.jsonl";
  result.evaluation = evaluation::evaluate(job.world, folder / "encoder.safetensors", job.dataset, job.domain_a, job.domain_b, split,
                                           job.settings.train.augment, job.settings.evaluate, static_cast<uint64_t>(job.settings.seed));
  return result;
}

evaluation::ReportInput report_input(const Job& job, std::vector<evaluation::Arm> arms, const std::string& split) {
  evaluation::ReportInput input;
  input.title = job.settings.run.title;
  input.domain_a = job.domain_a;
  input.domain_b = job.domain_b;
  input.split = split;
  input.baseline = "cds";
  input.main = job.settings.run.main;
  input.arms = std::move(arms);
  for (const auto& direction : job.directions()) {
    const auto log = job.fit_folder("cut", direction) / "log.jsonl";
    if (std::filesystem::exists(log)) input.curves.emplace_back("CUT, " + direction.name(), log);
  }
  if (const auto log = job.diffusion_folder() / "log.jsonl"; std::filesystem::exists(log)) input.curves.emplace_back("diffusion", log);
  Settings copy = job.settings;
  input.configuration = core::write_config(core::visit_of(copy));
  return input;
}

}  // namespace syncdr::app
