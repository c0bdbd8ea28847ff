#include "step_log.h"

#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>

#include <cmath>

#include "objective.h"
#include "syncdr/core/stop.h"

namespace syncdr::retrieval {

StepLog::StepLog(comm::World& world, const TrainConfig& config, const std::filesystem::path& file, int64_t first_step)
    : world_(world), config_(config) {
  world.root_only("opening the log of training", [&] { log_.emplace(file, first_step); });
}

void StepLog::begin_step() {
  if (waiting_.empty()) since_ = Clock::now();
}

void StepLog::add(int64_t step, double learning_rate, const at::Tensor& values, int64_t images) {
  waiting_.push_back({step, learning_rate, values, images});
}

bool StepLog::flush() {
  if (waiting_.empty()) return false;
  // [k + 1, 3]: the losses of k steps; in the last row the number of ranks that have been asked to stop.
  std::vector<at::Tensor> rows;
  for (const Step& step : waiting_) rows.push_back(step.values);
  rows.push_back(at::full({3}, core::stop_requested() ? 1.0 : 0.0, rows.front().options()));
  at::Tensor sums = at::stack(rows).to(at::kDouble);
  world_.all_reduce_sum(sums, "losses of the last steps");
  sums = sums.cpu();
  const double seconds = std::chrono::duration<double>(Clock::now() - since_).count();
  int64_t images = 0;
  for (const Step& step : waiting_) images += step.images;
  for (size_t k = 0; k < waiting_.size(); ++k) write(waiting_[k], sums[static_cast<int64_t>(k)], static_cast<double>(images) / seconds);
  waiting_.clear();
  return sums[-1][0].item<double>() > 0;
}

void StepLog::write(const Step& step, const at::Tensor& values, double images_per_second) {
  const double instance = values[0].item<double>(), matching = values[1].item<double>(), pairs = values[2].item<double>();
  last_loss_ = weighted_loss(config_, instance, matching, pairs);
  if (!std::isfinite(last_loss_)) {
    throw core::DataError(
        "step {}: the loss is {} (instance {}, matching {}, pairs {}). Lower train.optimizer.learning_rate{}, or look for broken images "
        "with "
        "`syncdr-data verify`.",
        step.step, last_loss_, instance, matching, pairs, config_.precision == "bf16" ? ", or use train.precision = \"fp32\"" : "");
  }
  if (!log_) return;
  log_->append(step.step, {{"loss", last_loss_},
                           {"loss_id", instance},
                           {"loss_cdm", matching},
                           {"loss_ppp", pairs},
                           {"lr", step.learning_rate},
                           {"images_per_s", images_per_second}});
}

void StepLog::validated(int64_t step, double score) {
  if (log_) log_->append(step, {{"val_score", score}});
}

}  // namespace syncdr::retrieval
