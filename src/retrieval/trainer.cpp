#include "syncdr/retrieval/trainer.h"

#include "fill_bank.h"
#include "objective.h"
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

/// The encoder with its banks and data.
class RetrievalLearner : public training::Learner {
 public:
  RetrievalLearner(const training::Task& task, std::vector<const data::PairSet*> sets, GlobalBatches batches, const TrainConfig& config,
                   const Validate& validate)
      : world_(task.world), names_(task.domains), sets_(std::move(sets)), config_(config), seed_(task.seed), validate_(validate), batches_(std::move(batches)),
        steps_(steps_of(config, batches_)), encoder_(make_encoder(config.encoder, seed_)) {
    encoder_->to(world_.device());
    if (config.precision == "fp64") to_double(*encoder_);
    nn::make_channels_last(*encoder_);
    encoder_->set_batch_norm(training::sum_over_ranks(world_));
    optimizer_ = training::make_optimizer(encoder_->parameters(), config.optimizer);
  }

  double best_score() const { return best_score_; }
  int64_t best_epoch() const { return best_epoch_; }
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
      features = encoder_->forward(normalise_images(images, world_.device()));
    }
    const at::Tensor gathered = training::gather_with_own_gradient(world_, features, "features of the global batch");
    const bool with_matching = config_.matching_weight > 0 && static_cast<double>(index) >= config_.matching_start * static_cast<double>(steps_);
    const LossShare loss = loss_share(config_, batch, gathered, banks_, with_matching, world_.size());
    parallel_->backward(loss.backward);
    optimizer_->step();
    for (size_t k = 0; k < banks_.size(); ++k) {
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
    training::put_prefix(checkpoint.tensors, best_, "best.");
    for (size_t k = 0; k < banks_.size(); ++k) checkpoint.tensors.emplace("bank." + names_[k], banks_[k].rows());
    // No random state: order and augmentation are functions of seed and step.
    checkpoint.state = record();
    return checkpoint;
  }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    nn::load_state(*encoder_, training::take_prefix(checkpoint.tensors, "model."), where);
    training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint.tensors, "optimizer."), where);
    const io::NamedTensors banks = training::take_prefix(checkpoint.tensors, "bank.");
    for (size_t k = 0; k < sets_.size(); ++k) {
      const auto bank = banks.find(names_[k]);
      if (bank == banks.end() || bank->second.sizes() != at::IntArrayRef({sets_[k]->size(), config_.encoder.dim})) {
        throw core::DataError("{}: no memory bank of {} rows for domain {}", where, sets_[k]->size(), names_[k]);
      }
      banks_.emplace_back(bank->second.to(world_.device(), encoder_->parameters().front().scalar_type()), config_.bank_momentum);
    }
    best_score_ = io::json_double(checkpoint.state, "best_score", where);
    best_epoch_ = io::json_int(checkpoint.state, "best_epoch", where);
    if (world_.is_root()) best_ = training::take_prefix(checkpoint.tensors, "best.");
  }

  training::MetricLog::Values validate(int64_t steps_done) override {
    const int64_t epoch = (steps_done + batches_.steps_per_epoch() - 1) / batches_.steps_per_epoch();  // counts from 1; the last may be cut short
    double score = 0;
    if (validate_) {
      encoder_->eval();
      at::Tensor of_root = at::full({1}, validate_(encoder_), at::kDouble);
      encoder_->train();
      world_.broadcast(of_root, 0, "the validation's score");
      score = of_root.item<double>();
    }
    if (!validate_ || best_epoch_ == 0 || score > best_score_) {  // without validation the last one is kept
      best_score_ = score;
      best_epoch_ = epoch;
      if (world_.is_root()) best_ = training::copies_of(nn::state_of(*encoder_));
    }
    return validate_ ? training::MetricLog::Values{{"val_score", score}} : training::MetricLog::Values{};
  }

  std::vector<std::filesystem::path> save(const std::filesystem::path& folder) override {
    save_encoder(folder / "encoder.safetensors", best_, config_.encoder);
    return {"encoder.safetensors"};
  }

  boost::json::object record() const override { return {{"best_score", best_score_}, {"best_epoch", best_epoch_}}; }

  std::string advice() const override {
    return fmt::format("Lower train.optimizer.learning_rate (now {}){}, look for broken images with `syncdr-data verify`", config_.optimizer.learning_rate,
                       config_.precision == "bf16" ? ", or use train.precision = \"fp32\"" : "");
  }

 private:
  comm::World& world_;
  const std::vector<std::string> names_;          // of the domains
  const std::vector<const data::PairSet*> sets_;  // and their training sets
  const TrainConfig& config_;
  uint64_t seed_;
  const Validate& validate_;
  GlobalBatches batches_;
  int64_t steps_;
  Encoder encoder_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::unique_ptr<training::DataParallel> parallel_;
  std::vector<MemoryBank> banks_;  // of each domain
  double best_score_ = 0;
  int64_t best_epoch_ = 0;                             // 0: none yet
  io::NamedTensors best_;                              // on rank 0
  std::optional<data::Prefetcher<at::Tensor>> ahead_;  // last: its threads use the batches
};

/// What an arm's pairs come from, for the identity of its training: "quickstart-filter" or, of several, "... in shares 2 : 1".
std::string described(const std::vector<data::TranslatedSet>& sets) {
  std::vector<std::string> names, shares;
  for (const data::TranslatedSet& set : sets) {
    names.push_back(set.variants > 0 ? fmt::format("{} (variants: {})", set.run, set.variants) : set.run);
    shares.push_back(fmt::format("{}", set.share));
  }
  if (sets.empty()) return "none";
  return fmt::format("{}{}", fmt::join(names, " + "), sets.size() > 1 ? fmt::format(" in shares {}", fmt::join(shares, " : ")) : "");
}

training::RunPlan plan_of(const training::Task& task, const std::vector<data::TranslatedSet>& sets, const TrainConfig& config, const GlobalBatches& batches) {
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
  for (const char* of_sets : {"train.variants", "train.shares"}) plan.identity.erase(of_sets);
  plan.identity.emplace("translations", described(sets));
  if (plan.bound_by.empty() && config.matching_start > 0) plan.bound_by = fmt::format("train.matching_start = {}", config.matching_start);
  return plan;
}

TrainResult result_of(const boost::json::object& record, const std::string& where) {
  return {.best_score = io::json_double(record, "best_score", where),
          .best_epoch = io::json_int(record, "best_epoch", where),
          .steps = io::json_int(record, "steps", where)};
}

}  // namespace

TrainResult train(const training::Task& task, const std::vector<data::TranslatedSet>& sets, const TrainConfig& config, const Validate& validate) {
  std::vector<data::PairSet> domains;
  for (const auto& domain : task.domains) {
    std::vector<std::string> others = task.domains;
    std::erase(others, domain);
    domains.emplace_back(task.dataset, domain, others, sets);
  }
  std::vector<const data::PairSet*> of_domains;
  for (const data::PairSet& domain : domains) of_domains.push_back(&domain);
  GlobalBatches batches(of_domains, config.batch, task.seed, task.world.rank(), task.world.size());
  const training::RunPlan plan = plan_of(task, sets, config, batches);
  if (const auto record = training::finished_run(task.world, plan)) return result_of(*record, (task.out / "done.json").string());
  RetrievalLearner learner(task, of_domains, std::move(batches), config, validate);
  const training::RunResult now = training::run(task.world, learner, plan);
  return {.best_score = learner.best_score(),
          .best_epoch = learner.best_epoch(),
          .steps = plan.steps,
          .now = now,
          .parameters = learner.parameters(),
          .images_per_step = plan.images_per_step};
}

}  // namespace syncdr::retrieval
