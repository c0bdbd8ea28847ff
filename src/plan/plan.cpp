#include "syncdr/plan/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "measured.h"
#include "model.h"
#include "plot.h"
#include "storage.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::plan {
namespace {

constexpr double worth_it = 0.9;  // the efficiency up to which the text below the table calls more ranks worth their price

/// A plan with what the table says of it besides times.
struct PlannedCommand {
  std::string title, what;  ///< what: of which so many a second are made
  double amount = 0;        ///< images or steps
  PlannedJob job;
  std::string configuration;
  std::vector<PlanPoint> points;
};

Measured read_measured(const Options& options) {
  Measured measured;
  for (const auto& file : options.measured) add_measured(measured, io::read_json(file), options.command, options.of, file);
  return measured;
}

/// The options that were given, over whatever the plan holds.
template <class Plan> void apply_options(Plan& plan, const Options& options) {
  std::string text;
  for (const auto& [key, value] : options.values) text += key + " = " + value + "\n";
  core::read_config_text(core::visit_of(plan), text, "syncdr plan " + options.command);
}

/// What a doctor has measured of a node; without it the largest number of ranks that was measured is taken for a full one.
template <class Figures> void set_sharing(PlannedJob& job, const Measured& measured, const Figures& found) {
  if (measured.sharing) {
    job.slowdown = measured.sharing->slowdown;
    job.ranks_per_node = measured.sharing->ranks_per_node;
  } else if (found.size() > 1) {
    for (const auto& one : found) job.ranks_per_node = std::max(job.ranks_per_node, one.ranks);
  }
}

template <class Figures> bool several_numbers_of_ranks(const Figures& found) {
  return std::any_of(found.begin(), found.end(), [&](const auto& one) { return one.ranks != found.front().ranks; });
}

[[noreturn]] void missing_option(const Options& options, const char* option, const char* figures) {
  throw core::UsageError("syncdr plan {}: {} is missing. Give it, or {} with --measured.", options.command, option, figures);
}

TranslatePlan resolve_translate(const Options& options) {
  constexpr const char* figures = "the figures of a `syncdr translate --json` that made images";
  const auto measured = read_measured(options);
  const auto& found = measured.translations;
  TranslatePlan plan;
  set_sharing(plan.job, measured, found);
  if (!found.empty()) {
    const auto& first = found.front();
    plan.variants = first.variants.value_or(plan.variants);
    plan.batch = first.batch.value_or(plan.batch);
    plan.unit_rows = first.unit_rows.value_or(plan.unit_rows);
    plan.taper = first.taper.value_or(plan.taper);
    int64_t images = 0, directions = 0;  // of the first job: the others repeat it on other numbers of ranks
    for (const auto& one : found)
      if (one.ranks == first.ranks) images += one.images, ++directions;
    plan.images = (images + plan.variants - 1) / plan.variants;
    plan.directions = directions;
    apply_options(plan, options);
    if (several_numbers_of_ranks(found) && !options.values.contains("slowdown")) fit_slowdown(plan.job, found);
    calibrate(plan, found);
  }
  apply_options(plan, options);
  if (plan.images == 0) missing_option(options, "--images", figures);
  if (plan.seconds_per_image == 0) missing_option(options, "--seconds-per-image", figures);
  return plan;
}

TrainPlan resolve_train(const Options& options) {
  constexpr const char* figures = "the figures of a `syncdr train --json`";
  const auto measured = read_measured(options);
  const auto& found = measured.trainings;
  TrainPlan plan;
  set_sharing(plan.job, measured, found);
  if (measured.link) {
    plan.latency_us = measured.link->latency_us;
    plan.bandwidth_gb = measured.link->bandwidth_gb;
    plan.all_reduce = measured.link->all_reduce;
  }
  if (!found.empty()) {
    plan.steps = found.front().steps;
    plan.images_per_step = found.front().images_per_step;
    plan.parameters = found.front().parameters;
    plan.feature_dim = found.front().feature_dim.value_or(plan.feature_dim);
    plan.batch_norm_layers = found.front().batch_norm_layers.value_or(plan.batch_norm_layers);
    apply_options(plan, options);
    if (found.size() >= 3 && several_numbers_of_ranks(found) && !options.values.contains("slowdown")) calibrate_with_slowdown(plan, found);
    else calibrate(plan, found);
  }
  apply_options(plan, options);
  if (plan.steps == 0) missing_option(options, "--steps", figures);
  if (plan.images_per_step == 0) missing_option(options, "--images-per-step", figures);
  if (plan.seconds_per_image == 0 && plan.step_seconds == 0) missing_option(options, "--seconds-per-image", figures);
  if (plan.parameters == 0) missing_option(options, "--parameters", figures);
  return plan;
}

PlannedCommand planned_translation(const Options& options) {
  auto plan = resolve_translate(options);
  const double amount = static_cast<double>(plan.images) * static_cast<double>(plan.variants);
  PlannedCommand planned{.title = fmt::format("translate {} images x {}, {:.3g} s each", plan.images, plan.variants, plan.seconds_per_image),
                         .what = "images/s",
                         .amount = amount,
                         .job = plan.job,
                         .configuration = core::write_config(core::visit_of(plan))};
  for (const auto ranks : options.ranks) planned.points.push_back(plan_translate(plan, ranks));
  return planned;
}

PlannedCommand planned_training(const Options& options) {
  auto plan = resolve_train(options);
  PlannedCommand planned{.title = fmt::format("train {} steps of {} images, {:.3g} s each", plan.steps, plan.images_per_step, plan.seconds_per_image),
                         .what = "steps/s",
                         .amount = static_cast<double>(plan.steps),
                         .job = plan.job,
                         .configuration = core::write_config(core::visit_of(plan))};
  for (const auto ranks : options.ranks)
    if (ranks <= plan.images_per_step) planned.points.push_back(plan_train(plan, ranks));
  if (planned.points.empty())
    throw core::UsageError("syncdr plan train: a step of {} images cannot be shared by {} ranks.", plan.images_per_step, options.ranks.front());
  return planned;
}

std::string table_of(const PlannedCommand& planned) {
  const bool costs = planned.job.price > 0, fails = planned.job.mtbf_hours > 0;
  const bool saves = std::any_of(planned.points.begin(), planned.points.end(), [](const PlanPoint& point) { return point.best_checkpoint > 0; });
  std::string text = planned.title + "\n";
  text += fmt::format("{:>6} {:>9} {:>10} {:>11} {:>11}", "ranks", "time", planned.what, "efficiency", "rank-hours");
  text += fmt::format("{}{}{}  most is lost to\n", costs ? fmt::format(" {:>11}", "cost") : "", fails ? fmt::format(" {:>9}", "failures") : "",
                      saves ? fmt::format(" {:>11}", "save every") : "");
  for (const auto& point : planned.points) {
    const auto& loss = point.largest_loss();
    text += fmt::format("{:>6} {:>9} {:>10.4g} {:>9.1f} % {:>11.4g}", point.ranks, duration_text(point.seconds), planned.amount / point.seconds,
                        100 * point.efficiency, point.rank_hours());
    if (costs) text += fmt::format(" {:>11.4g}", planned.job.price * point.rank_hours());
    if (fails) text += fmt::format(" {:>9.2g}", point.failures);
    if (saves) text += fmt::format(" {:>11}", duration_text(point.best_checkpoint));
    const double share = 100 * loss.seconds / point.seconds;
    text += !std::isfinite(point.seconds) ? "  failures: it never ends\n" : share < 0.05 ? "  -\n" : fmt::format("  {}, {:.1f} %\n", loss.name, share);
  }
  const PlanPoint* last = nullptr;
  for (const auto& point : planned.points)
    if (point.efficiency >= worth_it) last = &point;
  if (last) text += fmt::format("Up to {} ranks at least {:.0f} % of the paid time is spent computing.\n", last->ranks, 100 * worth_it);
  if (saves) text += "save every: the interval between checkpoints that costs least.\n";
  return text;
}

boost::json::object figures_of(const PlannedCommand& planned, const std::string& command) {
  boost::json::array points;
  for (const auto& point : planned.points) {
    boost::json::object parts;
    for (const auto& part : point.parts) parts[part.name] = part.seconds;
    points.push_back({{"ranks", point.ranks},
                      {"seconds", point.seconds},
                      {"held_seconds", point.held},
                      {"rate", planned.amount / point.seconds},
                      {"efficiency", point.efficiency},
                      {"rank_hours", point.rank_hours()},
                      {"cost", planned.job.price * point.rank_hours()},
                      {"failures", point.failures},
                      {"best_checkpoint_seconds", point.best_checkpoint},
                      {"parts", std::move(parts)}});
  }
  return {{"command", command}, {"rate_unit", planned.what}, {"configuration", planned.configuration}, {"points", std::move(points)}};
}

}  // namespace

void visit_fields(const std::string& command, core::Fields& field) {
  if (command == "translate") TranslatePlan().visit(field);
  else if (command == "data") DataPlan().visit(field);
  else TrainPlan().visit(field);
}

void print_plan(Options options) {
  for (const auto ranks : options.ranks)
    if (ranks < 1 || ranks > 1'000'000) throw core::UsageError("syncdr plan {}: --ranks {}: it must be 1 to 1,000,000.", options.command, ranks);
  std::sort(options.ranks.begin(), options.ranks.end());
  options.ranks.erase(std::unique(options.ranks.begin(), options.ranks.end()), options.ranks.end());
  if (options.command == "data") return print_data_plan(options);
  const auto planned = options.command == "translate" ? planned_translation(options) : planned_training(options);
  fmt::print("{}", table_of(planned));
  if (!options.json.empty()) io::write_json(options.json, figures_of(planned, options.command));
  if (!options.plot.empty()) io::write_file(options.plot, plan_plot(planned.title, planned.points));
}

}  // namespace syncdr::plan
