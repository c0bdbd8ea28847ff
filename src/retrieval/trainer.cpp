#include "syncdr/retrieval/trainer.h"

#include "fill_bank.h"
#include "objective.h"
#include "selection.h"
#include "syncdr/core/log.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/autocast.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::retrieval {
namespace {

// Module::to would convert the counters of batches too.
void to_double(torch::nn::Module& module) {
  std::vector<at::Tensor> tensors = module.parameters();
  for (const at::Tensor& buffer : module.buffers()) tensors.push_back(buffer);
  for (at::Tensor& tensor : tensors) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.to(at::kDouble));
  }
}

int64_t steps_of(const TrainConfig& config, const GlobalBatches& batches) {
  if (config.images > 0) return std::max<int64_t>(1, config.images / batches.at(0).images);
  return config.epochs * batches.steps_per_epoch();
}

/// Rank 0's values, on every rank.
Validation of_root(comm::World& world, const Validation& found) {
  at::Tensor values = at::tensor({found.labels, found.mutual, found.uniformity, found.alignment}, at::kDouble);
  world.broadcast(values, 0, "what the validation found");
  const auto value = values.accessor<double, 1>();
  Validation all(value[0]);
  all.mutual = value[1];
  all.uniformity = value[2];
  all.alignment = value[3];
  return all;
}

/// The encoder with its banks and data.
class RetrievalLearner : public training::Learner {
 public:
  RetrievalLearner(const training::Task& task, std::array<const data::PairSet*, 2> sets, GlobalBatches batches, const TrainConfig& config,
                   const Validate& validate)
      : world_(task.world), sets_(sets), config_(config), seed_(task.seed), validate_(validate), batches_(std::move(batches)),
        steps_(steps_of(config, batches_)), encoder_(make_encoder(config.encoder, seed_)) {
    encoder_->to(world_.device());
    if (config.precision == "fp64") to_double(*encoder_);
    nn::make_channels_last(*encoder_);
    encoder_->set_batch_norm(training::sum_over_ranks(world_));
    optimizer_ = training::make_optimizer(encoder_->parameters(), config.optimizer);
  }

  const Selection& selection() const { return selection_; }
  int64_t parameters() const { return nn::parameter_count(*encoder_); }

  std::vector<std::string> loss_names() const override { return {"loss", "loss_id", "loss_cdm", "loss_ppp"}; }

  void begin(int64_t first, int64_t last) override {
    parallel_ = std::make_unique<training::DataParallel>(world_, *encoder_);
    if (banks_.empty()) {
      for (const at::Tensor& rows : fill_banks(world_, encoder_, sets_, config_, seed_)) banks_.emplace_back(rows, config_.bank_momentum);
    }
    const auto load = [this, pin = world_.device().is_cuda()](int64_t index) {
      const at::Tensor images = batches_.load(index, config_.augment);
      return pin ? images.pin_memory() : images;
    };
    ahead_.emplace(load, first, last, config_.loader_threads);
    encoder_->train();
  }

  at::Tensor step(int64_t index) override {
    const at::Tensor images = ahead_->next();
    const GlobalBatch batch = batches_.at(index);
    training::set_learning_rate(*optimizer_, learning_rate(index));
    parallel_->before_forward();
    at::Tensor features;  // of this rank's images
    {
      const training::Autocast autocast(world_.device(), config_.precision == "bf16");
      features = encoder_->forward(normalise_images(images, encoder_->normalisation(), world_.device()));
    }
    const at::Tensor gathered = training::gather_with_own_gradient(world_, features, "features of the global batch");
    const bool with_matching = config_.matching_weight > 0 && static_cast<double>(index) >= config_.matching_start * static_cast<double>(steps_);
    const LossShare loss = loss_share(config_, batch, gathered, banks_, with_matching, world_.size());
    parallel_->backward(loss.backward);
    optimizer_->step();
    for (size_t k = 0; k < 2; ++k) {
      const DomainBatch& domain = batch.domains[k];
      banks_[k].update(domain.ids, gathered.detach().index_select(0, domain.features.to(gathered.device())));
    }
    return loss.values;
  }

  double learning_rate(int64_t step) const override { return training::learning_rate_at(config_.optimizer, step, steps_); }

  training::Checkpoint checkpoint(int64_t steps_done) const override {
    training::Checkpoint checkpoint{.step = steps_done};
    training::put_prefix(checkpoint.tensors, nn::state_of(*encoder_), "model.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
    training::put_prefix(checkpoint.tensors, {{"a", banks_[0].rows()}, {"b", banks_[1].rows()}}, "bank.");
    // No random state: order and augmentation are functions of seed and step.
    selection_.put(checkpoint);
    return checkpoint;
  }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    nn::load_state(*encoder_, training::take_prefix(checkpoint.tensors, "model."), where);
    training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint.tensors, "optimizer."), where);
    const io::NamedTensors banks = training::take_prefix(checkpoint.tensors, "bank.");
    for (size_t k = 0; k < 2; ++k) {
      const auto bank = banks.find(k == 0 ? "a" : "b");
      if (bank == banks.end() || bank->second.sizes() != at::IntArrayRef({sets_[k]->size(), config_.encoder.dim})) {
        throw core::DataError("{}: no memory bank of {} rows for domain {}", where, sets_[k]->size(), k == 0 ? "A" : "B");
      }
      banks_.emplace_back(bank->second.to(world_.device(), encoder_->parameters().front().scalar_type()), config_.bank_momentum);
    }
    selection_.take(checkpoint, where);
  }

  training::MetricLog::Values validate(int64_t steps_done) override {
    const int64_t epoch = (steps_done + batches_.steps_per_epoch() - 1) / batches_.steps_per_epoch();  // counts from 1; the last may be cut short
    const auto copy = [this] { return world_.is_root() ? training::copies_of(nn::state_of(*encoder_)) : io::NamedTensors(); };
    if (!validate_) {
      selection_.keep(epoch, copy());
      return {};
    }
    encoder_->eval();
    const Validation found = of_root(world_, validate_(encoder_));
    encoder_->train();
    const bool first = selection_.epoch() == 0;
    selection_.offer(epoch, found, copy);
    if (first && selection_.by() != config_.select)
      core::warn("validation images have no labels: the epoch is chosen by {} (train.select), not by {}", selection_.by(), config_.select);
    return Selection::figures(found);
  }

  std::vector<std::filesystem::path> save(const std::filesystem::path& folder) override {
    std::vector<std::filesystem::path> names;
    for (const auto& [name, weights] : selection_.files()) {
      save_encoder(folder / name, weights, config_.encoder);
      names.emplace_back(name);
    }
    return names;
  }

  boost::json::object record() const override { return selection_.record(); }

  std::string advice() const override {
    return fmt::format("Lower train.optimizer.learning_rate (now {}){}, look for broken images with `syncdr-data verify`", config_.optimizer.learning_rate,
                       config_.precision == "bf16" ? ", or use train.precision = \"fp32\"" : "");
  }

 private:
  comm::World& world_;
  const std::array<const data::PairSet*, 2> sets_;
  const TrainConfig& config_;
  uint64_t seed_;
  const Validate& validate_;
  GlobalBatches batches_;
  int64_t steps_;
  Encoder encoder_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::unique_ptr<training::DataParallel> parallel_;
  std::vector<MemoryBank> banks_;  // of A and B
  Selection selection_{config_.select};
  std::optional<data::Prefetcher<at::Tensor>> ahead_;  // last: its threads use the batches
};

training::RunPlan plan_of(const training::Task& task, const std::string& run, const TrainConfig& config, const GlobalBatches& batches) {
  TrainConfig copy = config;
  training::RunPlan plan{
      .title = "training",
      .identity = training::identity_of(task, fmt::format("retrieval between {}", fmt::join(task.domains, " and ")), core::visit_of(copy), "train"),
      .steps = steps_of(config, batches),
      .bound_by = training::bound_by_schedule(config.optimizer.schedule, "train.optimizer"),
      .images_per_step = batches.at(0).images,
      .log_every = config.log_every,
      .checkpoint_every = config.checkpoint_every > 0 ? config.checkpoint_every : batches.steps_per_epoch(),
      .validate_every = config.validate_every > 0 ? config.validate_every : batches.steps_per_epoch(),
      .out = task.out};
  plan.identity.emplace("translations", run.empty() ? "none" : run);
  if (plan.bound_by.empty() && config.matching_start > 0) plan.bound_by = fmt::format("train.matching_start = {}", config.matching_start);
  return plan;
}

TrainResult result_of(const boost::json::object& record, const std::string& where) {
  return {.best_score = io::json_double(record, "best_score", where),
          .best_epoch = io::json_int(record, "best_epoch", where),
          .selected_by = io::json_string(record, "selected_by", where),
          .steps = io::json_int(record, "steps", where)};
}

}  // namespace

TrainResult train(const training::Task& task, const std::string& run, const TrainConfig& config, const Validate& validate, const data::LeftOut& left_out) {
  const data::PairSet a(task.dataset, task.domains.at(0), task.domains.at(1), run, "train", config.variants, left_out),
      b(task.dataset, task.domains.at(1), task.domains.at(0), run, "train", config.variants, left_out);
  GlobalBatches batches(a, b, config.batch, task.seed, task.world.rank(), task.world.size());
  const training::RunPlan plan = plan_of(task, run, config, batches);
  if (const auto record = training::finished_run(task.world, plan)) return result_of(*record, (task.out / "done.json").string());
  RetrievalLearner learner(task, {&a, &b}, std::move(batches), config, validate);
  const training::RunResult now = training::run(task.world, learner, plan);
  return {.best_score = learner.selection().score(),
          .best_epoch = learner.selection().epoch(),
          .selected_by = learner.selection().by(),
          .steps = plan.steps,
          .now = now,
          .parameters = learner.parameters(),
          .images_per_step = plan.images_per_step};
}

}  // namespace syncdr::retrieval
