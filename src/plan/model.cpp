#include "model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

#include "syncdr/comm/gradient_reducer.h"
#include "syncdr/core/error.h"
#include "syncdr/translate/units.h"

namespace syncdr::plan {
namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr double store_calls_per_second = 50000;  // what c10d's TCPStore answers while its rank computes: measured, 50,000 to 110,000
constexpr double first_bucket_bytes = comm::GradientReducer::first_bucket_bytes, bucket_bytes = comm::GradientReducer::bucket_bytes;
constexpr double backward_share = 2.0 / 3;  // of forward and backward: it multiplies twice where forward does once
constexpr int64_t gathers_a_step = 4;       // of the features, and before each the number of rows of every rank, twice

double number(int64_t value) { return static_cast<double>(value); }
int64_t divide_up(int64_t value, int64_t by) { return value / by + (value % by != 0); }
double levels(int64_t ranks) { return std::ceil(std::log2(number(ranks))); }

double failure_rate(const PlannedJob& job, int64_t ranks) {
  if (job.mtbf_hours == 0) return 0;
  return number(divide_up(ranks, job.ranks_per_node)) / (3600 * job.mtbf_hours);
}

/// The share of a node's other ranks that there are: 0 for one rank, 1 for a full node.
double fullness(const PlannedJob& job, int64_t ranks) {
  return job.ranks_per_node == 1 ? 0 : number(std::min(ranks, job.ranks_per_node) - 1) / number(job.ranks_per_node - 1);
}

/// By which a rank computes longer than alone on its node.
double slowdown_of(const PlannedJob& job, int64_t ranks) { return 1 + (job.slowdown - 1) * fullness(job, ranks); }

/// The parts of the time of a unit, of a direction, or of all directions. writing: by how much it outlasts the translator.
struct TranslationTime {
  double compute = 0, padding = 0, sharing = 0, claims = 0, writing = 0, tail = 0, folder = 0, store = 0, around = 0;
  double seconds() const { return compute + padding + sharing + claims + writing + tail + folder + store + around; }
  double period() const { return compute + padding + sharing + writing + claims; }  ///< of a unit
  void add(double times, const TranslationTime& other) {
    compute += times * other.compute, padding += times * other.padding, sharing += times * other.sharing;
    claims += times * other.claims, writing += times * other.writing, tail += times * other.tail;
    folder += times * other.folder, store += times * other.store, around += times * other.around;
  }
};

/// What a rank does for a unit of so many source rows.
TranslationTime cost_of_unit(const TranslatePlan& plan, int64_t rows, int64_t ranks) {
  const double images = number(rows * plan.variants);
  const double computed = plan.device == "gpu" ? number(divide_up(rows * plan.variants, plan.batch) * plan.batch) : images;
  TranslationTime cost{.compute = images * plan.seconds_per_image, .padding = (computed - images) * plan.seconds_per_image, .claims = plan.claim_seconds};
  cost.sharing = (slowdown_of(plan.job, ranks) - 1) * (cost.compute + cost.padding);
  cost.writing = std::max(0.0, images * plan.write_seconds + plan.seal_seconds - cost.compute - cost.padding - cost.sharing);
  return cost;
}

/// When the last rank ends: each claims the next unit when it is through with one. Ranks are equally fast, so full units go in rounds, without a simulation.
double last_end(const TranslatePlan& plan, const translate::UnitSizes& units, int64_t ranks) {
  const double full = cost_of_unit(plan, plan.unit_rows, ranks).period();
  const double rounds = number(units.full / ranks) * full;
  std::priority_queue<double, std::vector<double>, std::greater<>> free;  // when each rank is
  for (int64_t rank = 0; rank < ranks; ++rank) free.push(rounds + (rank < units.full % ranks ? full : 0));
  double end = units.full == 0 ? 0 : rounds + (units.full % ranks > 0 ? full : 0);
  for (const auto rows : units.tapered) {
    const double done = free.top() + cost_of_unit(plan, rows, ranks).period();
    free.pop();
    free.push(done);
    end = std::max(end, done);
  }
  return end;
}

TranslationTime plan_direction(const TranslatePlan& plan, int64_t rows, int64_t ranks) {
  const auto units = translate::unit_sizes(rows, plan.unit_rows, plan.taper, translate::batch_rows(plan.variants, plan.batch));
  TranslationTime sum;
  double batches = 0;
  const auto add = [&](int64_t size, int64_t count) {
    sum.add(number(count) / number(ranks), cost_of_unit(plan, size, ranks));
    batches += number(count * divide_up(size * plan.variants, plan.batch));
  };
  add(plan.unit_rows, units.full);
  for (const auto size : units.tapered) add(size, 1);
  const double balanced = sum.seconds(), end = last_end(plan, units, ranks);
  sum.tail = std::max(0.0, end - balanced);
  // Two things are shared by all ranks: the store, which is asked once per unit and three times per batch, and the folder.
  const double asked = (3 * batches + number(units.full) + number(static_cast<int64_t>(units.tapered.size()))) / store_calls_per_second;
  const double written = plan.folder_gb > 0 ? number(rows * plan.variants) * plan.image_bytes / (1e9 * plan.folder_gb) : 0;
  sum.store = std::max(0.0, asked - std::max(end, written));
  sum.folder = std::max(0.0, written - end);
  // Translator and writer work beside each other but at the ends: one begins a batch later, the other ends a batch and a seal later.
  const double images = number(std::min(plan.batch, rows * plan.variants));
  const bool writer_is_slower = cost_of_unit(plan, std::min(rows, plan.unit_rows), ranks).writing > 0;
  sum.writing += writer_is_slower ? images * plan.seconds_per_image : images * plan.write_seconds + plan.seal_seconds;
  sum.around = plan.direction_seconds;
  return sum;
}

/// Adds the job's own parts to those of its work. segment: what a failure loses at most, in s.
PlanPoint finish_point(const PlannedJob& job, int64_t ranks, double segment, std::vector<PlanPart> parts) {
  double work = 0;
  for (const auto& part : parts) work += part.seconds;
  const auto expected = with_failures(work, segment, failure_rate(job, ranks), job.start_seconds, job.requeue_seconds);
  PlanPoint point{.ranks = ranks, .seconds = expected.seconds, .held = expected.held, .failures = expected.failures};
  point.efficiency = expected.held > 0 ? parts.front().seconds / expected.held : 0;
  parts.push_back({"start", job.start_seconds});
  parts.push_back({"failures", expected.seconds - work - job.start_seconds});
  point.parts = std::move(parts);
  return point;
}

double latency_of(const TrainPlan& plan, int64_t ranks) {
  const bool local = ranks <= plan.job.ranks_per_node && plan.local_latency_us > 0;
  return 1e-6 * (local ? plan.local_latency_us : plan.latency_us);
}

double seconds_a_byte(const TrainPlan& plan, int64_t ranks) {
  const bool local = ranks <= plan.job.ranks_per_node && plan.local_bandwidth_gb > 0;
  const double bandwidth = local ? plan.local_bandwidth_gb : plan.bandwidth_gb;
  return bandwidth > 0 ? 1e-9 / bandwidth : 0;
}

/// How often a byte travels in an all-reduce.
double times_moved(const std::string& all_reduce, int64_t ranks) { return all_reduce == "binomial" ? 2 * levels(ranks) : 2 * (1 - 1 / number(ranks)); }

/// The parts of one training step.
struct StepCost {
  double compute = 0, uneven = 0, fixed = 0, sharing = 0, gradients = 0, batch_norm = 0, features = 0;
  double seconds() const { return compute + uneven + fixed + sharing + gradients + batch_norm + features; }
};

/// Gradients that the backward pass, of which `hidden` s are given to them, does not hide. They travel in buckets, each when the pass has completed it
/// and the one before has gone. Whatever bucket the line last stood idle before, it works from then on without a pause: the time is the largest
/// over such buckets, which for buckets of equal size is at the first or the last of them.
double exposed_gradients(const TrainPlan& plan, int64_t ranks, double hidden) {
  const double bytes = 4 * number(plan.parameters);
  if (bytes == 0 || ranks == 1) return 0;
  const double first = std::min(bytes, first_bucket_bytes), full = std::floor((bytes - first) / bucket_bytes), rest = bytes - first - full * bucket_bytes;
  const double first_time = all_reduce_seconds(plan, ranks, first), full_time = all_reduce_seconds(plan, ranks, bucket_bytes);
  const double rest_time = rest > 0 ? all_reduce_seconds(plan, ranks, rest) : 0;
  const auto idle_before = [&](double complete_bytes, double time_from_there) { return time_from_there - hidden * (1 - complete_bytes / bytes); };
  double exposed = idle_before(first, first_time + full * full_time + rest_time);
  if (full > 0) {
    exposed = std::max(exposed, idle_before(first + bucket_bytes, full * full_time + rest_time));
    exposed = std::max(exposed, idle_before(bytes - rest, full_time + rest_time));
  }
  return std::max(exposed, rest_time);
}

StepCost cost_of_step(const TrainPlan& plan, int64_t ranks) {
  const double share = number(plan.images_per_step) / number(ranks), most = number(divide_up(plan.images_per_step, ranks));
  StepCost cost{.compute = share * plan.seconds_per_image, .uneven = (most - share) * plan.seconds_per_image, .fixed = plan.step_seconds};
  if (ranks == 1) return cost;
  const double slowdown = slowdown_of(plan.job, ranks);
  cost.sharing = (slowdown - 1) * (cost.compute + cost.uneven + cost.fixed);
  cost.gradients = exposed_gradients(plan, ranks, plan.overlap * backward_share * slowdown * most * plan.seconds_per_image);
  cost.batch_norm = 2 * number(plan.batch_norm_layers) * all_reduce_seconds(plan, ranks, 0);
  const double bytes = 4 * number(plan.images_per_step * plan.feature_dim);
  cost.features = gathers_a_step * levels(ranks) * latency_of(plan, ranks) + (1 - 1 / number(ranks)) * bytes * seconds_a_byte(plan, ranks);
  return cost;
}

TrainPlan plan_like(TrainPlan plan, const MeasuredTraining& measured) {
  plan.images_per_step = measured.images_per_step;
  return plan;
}

}  // namespace

const PlanPart& PlanPoint::largest_loss() const {
  SYNCDR_ASSERT(parts.size() > 1, "a plan of {} parts", parts.size());
  return *std::max_element(parts.begin() + 1, parts.end(), [](const PlanPart& a, const PlanPart& b) { return a.seconds < b.seconds; });
}

PlanPoint plan_translate(const TranslatePlan& plan, int64_t ranks) {
  SYNCDR_ASSERT(ranks >= 1 && plan.images >= 1, "{} images on {} ranks", plan.images, ranks);
  TranslationTime sum;
  const int64_t shorter = plan.images / plan.directions, longer = plan.images % plan.directions;
  sum.add(number(longer), plan_direction(plan, shorter + 1, ranks));
  if (shorter > 0) sum.add(number(plan.directions - longer), plan_direction(plan, shorter, ranks));
  // A failure ends every rank's unit; sealed ones stay.
  const double segment = std::min(cost_of_unit(plan, plan.unit_rows, ranks).period(), sum.seconds());
  return finish_point(plan.job, ranks, segment,
                      {{"compute", sum.compute},
                       {"padding", sum.padding},
                       {"shared nodes", sum.sharing},
                       {"claims", sum.claims},
                       {"writing", sum.writing},
                       {"tail", sum.tail},
                       {"folder", sum.folder},
                       {"store", sum.store},
                       {"checks", sum.around}});
}

PlanPoint plan_train(const TrainPlan& plan, int64_t ranks) {
  SYNCDR_ASSERT(ranks >= 1 && ranks <= plan.images_per_step && plan.steps >= 1, "{} steps of {} images on {} ranks", plan.steps, plan.images_per_step, ranks);
  const auto step = cost_of_step(plan, ranks);
  const double steps = number(plan.steps), saves = plan.checkpoint_every > 0 ? std::floor(steps / number(plan.checkpoint_every)) : 0;
  const double saving = saves * plan.checkpoint_seconds, work = steps * step.seconds() + saving;
  const double segment = saves > 0 ? number(plan.checkpoint_every) * step.seconds() + plan.checkpoint_seconds : work;
  auto point = finish_point(plan.job, ranks, segment,
                            {{"compute", steps * step.compute},
                             {"uneven split", steps * step.uneven},
                             {"fixed", steps * step.fixed},
                             {"shared nodes", steps * step.sharing},
                             {"gradients", steps * step.gradients},
                             {"batch norm", steps * step.batch_norm},
                             {"features", steps * step.features},
                             {"checkpoints", saving}});
  const double rate = failure_rate(plan.job, ranks);
  if (rate > 0 && plan.checkpoint_seconds > 0) point.best_checkpoint = best_checkpoint_interval(plan.checkpoint_seconds, 1 / rate);
  return point;
}

Expectation with_failures(double work, double segment, double rate, double start, double requeue) {
  if (work == 0 || rate == 0) return {.seconds = start + work, .held = start + work};
  const double segments = work / segment;
  // An attempt at s seconds succeeds with probability exp(-rate s): exp(rate s) - 1 failures before it does, (exp(rate s) - 1) / rate s of trying.
  const double tried = std::expm1(rate * segment), started = std::expm1(rate * start);
  const double restarts = segments * tried;
  Expectation expected;
  expected.held = (started * (1 + restarts) + restarts) / rate;
  expected.failures = started * (1 + restarts) + restarts;
  expected.seconds = expected.held + requeue * expected.failures;
  return std::isfinite(expected.seconds) ? expected : Expectation{infinite, infinite, infinite};
}

double best_checkpoint_interval(double cost, double mtbf) {
  if (cost >= 2 * mtbf) return mtbf;
  const double ratio = cost / (2 * mtbf);
  return std::sqrt(2 * cost * mtbf) * (1 + std::sqrt(ratio) / 3 + ratio / 9) - cost;
}

double all_reduce_seconds(const TrainPlan& plan, int64_t ranks, double bytes) {
  if (ranks == 1) return 0;
  return 2 * levels(ranks) * latency_of(plan, ranks) + times_moved(plan.all_reduce, ranks) * bytes * seconds_a_byte(plan, ranks);
}

Link link_of(const std::string& all_reduce, int64_t ranks, double empty_seconds, double seconds, double bytes) {
  SYNCDR_ASSERT(ranks >= 2, "a link between {} ranks", ranks);
  Link link{.latency_us = 1e6 * empty_seconds / (2 * levels(ranks)), .all_reduce = all_reduce};
  if (seconds > empty_seconds) link.bandwidth_gb = 1e-9 * times_moved(all_reduce, ranks) * bytes / (seconds - empty_seconds);
  return link;
}

double train_step_seconds(const TrainPlan& plan, int64_t ranks) { return cost_of_step(plan, ranks).seconds(); }

void fit_slowdown(PlannedJob& job, std::span<const MeasuredTranslation> measured) {
  // s (1 + (slowdown - 1) x) is a line over the share x of a node's other ranks: least squares of its two coefficients.
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (const auto& one : measured) {
    const double x = fullness(job, one.ranks), y = one.compute_seconds / number(one.images);
    n += 1, sx += x, sy += y, sxx += x * x, sxy += x * y;
  }
  const double spread = n * sxx - sx * sx;
  if (!(spread > 1e-9)) return;
  const double slope = (n * sxy - sx * sy) / spread, alone = (sy - slope * sx) / n;
  if (alone > 0) job.slowdown = std::max(1.0, 1 + slope / alone);
}

void calibrate(TranslatePlan& plan, std::span<const MeasuredTranslation> measured) {
  double images = 0, compute = 0;
  for (const auto& one : measured) {
    images += number(one.images) * slowdown_of(plan.job, one.ranks);
    compute += one.compute_seconds;
  }
  SYNCDR_ASSERT(images > 0, "no image was measured");
  plan.seconds_per_image = compute / images;
  plan.direction_seconds = 0;
  double unexplained = 0;
  for (const auto& one : measured) unexplained += one.seconds - plan_direction(plan, divide_up(one.images, plan.variants), one.ranks).seconds();
  plan.direction_seconds = std::max(0.0, unexplained / number(static_cast<int64_t>(measured.size())));
}

void calibrate(TrainPlan& plan, std::span<const MeasuredTraining> measured) {
  SYNCDR_ASSERT(!measured.empty(), "no training was measured");
  const double count = number(static_cast<int64_t>(measured.size())), given = plan.step_seconds;
  // What communication is not hidden depends on the seconds per image, which are looked for. Repeated, this settles: at most two thirds of a change come back.
  plan.seconds_per_image = 0;
  for (int round = 0; round < 100; ++round) {
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (const auto& one : measured) {
      const auto step = cost_of_step(plan_like(plan, one), one.ranks);
      const double x = number(divide_up(one.images_per_step, one.ranks));
      const double y = (one.seconds / number(one.steps) - (step.gradients + step.batch_norm + step.features)) / slowdown_of(plan.job, one.ranks);
      sx += x, sy += y, sxx += x * x, sxy += x * y;
    }
    const double spread = sxx - sx * sx / count;
    plan.step_seconds = given;
    if (spread > 1e-9 * sxx) plan.step_seconds = std::max(0.0, (sy - sx * (sxy - sx * sy / count) / spread) / count);
    plan.seconds_per_image = std::max(0.0, (sxy - plan.step_seconds * sx) / sxx);
  }
}

void calibrate_with_slowdown(TrainPlan& plan, std::span<const MeasuredTraining> measured) {
  auto best = plan;
  double least = infinite;
  for (int percent = 100; percent <= 400; ++percent) {
    auto tried = plan;
    tried.job.slowdown = percent / 100.0;
    calibrate(tried, measured);
    double error = 0;
    for (const auto& one : measured) {
      const double ratio = train_step_seconds(plan_like(tried, one), one.ranks) * number(one.steps) / one.seconds - 1;
      error += ratio * ratio;
    }
    if (error < least) least = error, best = tried;
  }
  plan = best;
}

}  // namespace syncdr::plan
