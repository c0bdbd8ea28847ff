#include "syncdr/retrieval/trainer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include "bank_files.h"
#include "fill_bank.h"
#include "kept_features.h"
#include "objective.h"
#include "selection.h"
#include "syncdr/core/log.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/autocast.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/ema.h"
#include "syncdr/training/loss_scaler.h"
#include "syncdr/training/optimizer.h"
#include "trained_layers.h"

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

/// The shards that sets read, each once.
std::vector<const data::ShardReader*> shards_of(std::span<const data::PairSet* const> sets) {
  std::map<std::string, const data::ShardReader*> by_path;
  for (const data::PairSet* set : sets)
    for (const data::ShardReader* shard : set->shards()) by_path.emplace(shard->path().string(), shard);
  std::vector<const data::ShardReader*> all;
  for (const auto& [path, shard] : by_path) all.push_back(shard);
  return all;
}

/// The encoder with its banks and data.
class RetrievalLearner : public training::Learner {
 public:
  RetrievalLearner(const training::Task& task, std::vector<const data::PairSet*> sets, GlobalBatches batches, const TrainConfig& config,
                   const Validate& validate)
      : world_(task.world), dataset_(task.dataset), sets_(std::move(sets)), config_(config), seed_(task.seed), validate_(validate),
        batches_(std::move(batches)), matching_(matching_directions(config, task.domains)), steps_(steps_of(config, batches_)),
        encoder_(make_encoder(config.encoder, seed_)), scaler_(config.precision == "fp16") {
    place(encoder_);
    encoder_->set_batch_norm(training::sum_over_ranks(world_));
    if (config.ema > 0) {
      ema_.emplace(*encoder_, config.ema);
      averaged_ = Encoder(config.encoder, seed_);
      place(averaged_);
      averaged_->eval();
    }
    groups_ = trained_groups(*encoder_, config.encoder);
    optimizer_ = training::make_optimizer(groups_, config.optimizer);
  }

  const Selection& selection() const { return selection_; }
  int64_t parameters() const { return nn::parameter_count(*encoder_); }
  int64_t batch_norm_layers() const { return batch_norm_layers_; }

  std::vector<std::string> loss_names() const override { return {"loss", "loss_id", "loss_cdm", "loss_ppp"}; }

  void begin(int64_t first, int64_t last) override {
    parallel_ = std::make_unique<training::DataParallel>(world_, *encoder_);
    if (keeps_features(config_)) kept_.emplace(world_, encoder_, dataset_, shards_of(sets_), config_, config_.kept_folder);
    if (banks_.empty()) {
      make_banks();
      fill_banks(world_, encoder_, sets_, config_, seed_, kept_ ? &*kept_ : nullptr, banks_);
      if (ema_) ema_.emplace(*encoder_, config_.ema);  // filling them may have moved the statistics of batch normalisation
    }
    const auto load = [this, pin = world_.device().is_cuda()](int64_t index) {
      const at::Tensor inputs = kept_ ? batches_.load_kept(index, *kept_) : batches_.load(index, config_.augment);
      return pin ? inputs.pin_memory() : inputs;
    };
    ahead_.emplace(load, first, last, world_.threads(config_.loader_threads));
    train_mode(*encoder_);
    batch_norm_layers_ = nn::batch_norms_over_ranks(*encoder_);
  }

  at::Tensor step(int64_t index) override {
    const at::Tensor inputs = ahead_->next();
    const GlobalBatch batch = batches_.at(index);
    training::set_learning_rate(*optimizer_, learning_rate(index), groups_);
    parallel_->before_forward();
    const int64_t chunks = chunks_of(inputs);
    const at::Tensor features = chunks == 1 ? encode(inputs) : encode_without_gradient(inputs, chunks);  // of this rank's images
    const at::Tensor gathered = world_.all_gather_rows(features.detach(), "features of the global batch");
    const bool with_matching = config_.matching_weight > 0 && static_cast<double>(index) >= config_.matching_start * static_cast<double>(steps_);
    const LossShare loss = loss_share(config_, batch, gathered, banks_, with_matching ? matching_ : Directions{});
    parallel_->backward_in_parts(chunks, [&](int64_t chunk) {
      const training::Part part = training::part_of(inputs.size(0), static_cast<int>(chunk), static_cast<int>(chunks));
      const at::Tensor of_part = chunks == 1 ? features : encode(inputs.slice(0, part.first, part.last));
      return scaler_.scale((of_part * loss.gradient.slice(0, part.first, part.last)).sum());
    });
    if (scaler_.unscale(parallel_->parameters())) {
      training::clip_gradient(parallel_->parameters(), config_.optimizer.clip);
      optimizer_->step();
      if (ema_) ema_->update(*encoder_);
    }
    for (size_t k = 0; k < banks_.size(); ++k) {
      const DomainBatch& domain = batch.domains[k];
      banks_[k].update(domain.ids, gathered.index_select(0, domain.features.to(gathered.device())));
    }
    return loss.values;
  }

  double learning_rate(int64_t step) const override { return training::learning_rate_at(config_.optimizer, step, steps_); }

  training::Checkpoint checkpoint(int64_t steps_done) const override {
    training::Checkpoint checkpoint{.step = steps_done};
    training::put_prefix(checkpoint.tensors, nn::state_of(*encoder_), "model.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
    put_banks(checkpoint.tensors, banks_);
    // No random state: order and augmentation are functions of seed and step.
    selection_.put(checkpoint);
    checkpoint.state["stale_validations"] = stale_validations_;
    training::put_average(checkpoint, ema_);
    scaler_.put(checkpoint);
    return checkpoint;
  }

  void save_parts(const std::filesystem::path& folder) const override { save_bank_parts(folder, banks_); }

  void restore(const training::Checkpoint& checkpoint, const std::string& where) override {
    nn::load_state(*encoder_, training::take_prefix(checkpoint.tensors, "model."), where);
    training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint.tensors, "optimizer."), where);
    make_banks();
    restore_banks(checkpoint.tensors, where, banks_);
    selection_.take(checkpoint, where);
    stale_validations_ = io::json_int(checkpoint.state, "stale_validations", where);
    training::take_average(checkpoint, ema_, where);
    scaler_.take(checkpoint, where);
  }

  training::MetricLog::Values validate(int64_t steps_done) override {
    const int64_t epoch = (steps_done + batches_.steps_per_epoch() - 1) / batches_.steps_per_epoch();  // counts from 1; the last may be cut short
    if (ema_) nn::load_state(*averaged_, ema_->average(), "the moving average");
    Encoder& judged = ema_ ? averaged_ : encoder_;
    const auto copy = [&] { return world_.is_root() ? training::copies_of(nn::state_of(*judged)) : io::NamedTensors(); };
    training::MetricLog::Values values;
    bool better = true;
    if (validate_) {
      judged->eval();
      const Validation found = of_root(world_, validate_(judged));
      train_mode(*encoder_);
      const bool first = selection_.epoch() == 0;
      better = selection_.offer(epoch, found, copy);
      if (first && selection_.by() != config_.select)
        core::warn("validation images have no labels: the epoch is chosen by {} (train.select), not by {}", selection_.by(), config_.select);
      values = Selection::figures(found);
    } else {
      selection_.keep(epoch, copy());
    }
    stale_validations_ = better ? 0 : stale_validations_ + 1;
    values.emplace_back("bank_checksum", static_cast<double>(checksum(world_, banks_)));
    return values;
  }

  bool enough() const override { return config_.patience > 0 && stale_validations_ >= config_.patience; }
  training::MetricLog::Values figures() const override { return scaler_.figures(); }

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
                       training::autocast_type(config_.precision) ? ", or use train.precision = \"fp32\"" : "");
  }

 private:
  /// images [n, 3, S, S] uint8, or kept features [n, F] -> [n, D]
  at::Tensor encode(const at::Tensor& inputs) {
    const training::Autocast autocast(world_.device(), training::autocast_type(config_.precision));
    if (kept_) return encoder_->project(inputs.to(encoder_->parameters().front().options().requires_grad(false)));
    return encoder_->forward(normalise_images(inputs, encoder_->normalisation(), world_.device()));
  }

  /// Into how many parts a rank deals its images: the same number on all ranks, since batch normalisation over ranks meets in each.
  int64_t chunks_of(const at::Tensor& images) {
    if (config_.chunk == 0) return 1;
    return std::max<int64_t>(1, world_.all_reduce_max((images.size(0) + config_.chunk - 1) / config_.chunk, "agreeing on chunks"));
  }

  /// The same features as those of the chunks that are encoded with gradients later (Gao et al., "Scaling deep contrastive learning batch size under memory
  /// limited setup", RepL4NLP 2021). Running averages stay as they are: those later ones move them.
  at::Tensor encode_without_gradient(const at::Tensor& images, int64_t chunks) {
    const at::NoGradGuard no_gradient;
    const std::vector<at::Tensor> buffers = encoder_->buffers();
    std::vector<at::Tensor> before, features;
    for (const at::Tensor& buffer : buffers) before.push_back(buffer.clone());
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const training::Part part = training::part_of(images.size(0), static_cast<int>(chunk), static_cast<int>(chunks));
      features.push_back(encode(images.slice(0, part.first, part.last)));
    }
    for (size_t k = 0; k < buffers.size(); ++k) buffers[k].copy_(before[k]);
    return at::cat(features);
  }

  void place(Encoder& encoder) {
    encoder->to(world_.device());
    if (config_.precision == "fp64") to_double(*encoder);
    nn::make_channels_last(*encoder);
  }

  void make_banks() {
    const auto features = encoder_->parameters().front().options();
    for (const data::PairSet* set : sets_)
      banks_.push_back(make_bank(world_, config_.bank, set->size(), config_.encoder.dim, features.requires_grad(false), config_.bank_momentum));
  }

  comm::World& world_;
  const data::Dataset& dataset_;
  const std::vector<const data::PairSet*> sets_;  // of each domain
  const TrainConfig& config_;
  uint64_t seed_;
  const Validate& validate_;
  GlobalBatches batches_;
  Directions matching_;
  int64_t steps_;
  int64_t batch_norm_layers_ = 0;
  Encoder encoder_;
  training::LossScaler scaler_;
  std::optional<training::Ema> ema_;
  Encoder averaged_{nullptr};  // what the moving average is judged in
  std::vector<training::ParameterGroup> groups_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::unique_ptr<training::DataParallel> parallel_;
  std::vector<MemoryBank> banks_;  // of each domain
  Selection selection_{config_.select};
  int64_t stale_validations_ = 0;                      // since the best one
  std::optional<KeptFeatures> kept_;                   // of a frozen backbone
  std::optional<data::Prefetcher<at::Tensor>> ahead_;  // last: its threads use what stands above
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
      .length =
          [by_images = config.images > 0, epoch = batches.steps_per_epoch(), images = batches.at(0).images](int64_t steps) {
            return by_images || steps % epoch != 0 ? fmt::format("train.images = {}", steps * images) : fmt::format("train.epochs = {}", steps / epoch);
          },
      .bound_by = training::bound_by_schedule(config.optimizer.schedule, "train.optimizer"),
      .images_per_step = batches.at(0).images,
      .log_every = config.log_every,
      .checkpoint_every = config.checkpoint_every > 0 ? config.checkpoint_every : batches.steps_per_epoch(),
      .validate_every = config.validate_every > 0 ? config.validate_every : batches.steps_per_epoch(),
      .out = task.out};
  for (const char* harmless : {"train.bank.placement", "train.kept_folder"}) plan.identity.erase(harmless);  // no part of the result
  for (const char* of_sets : {"train.variants", "train.shares"}) plan.identity.erase(of_sets);
  plan.identity.emplace("translations", described(sets));
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

void check_settings(const TrainConfig& config, const std::vector<std::string>& domains) {
  data::check_sides(config.augment, "train.augment");
  matching_directions(config, domains);
  check_layers(config.encoder);
  training::make_optimizer(std::vector<at::Tensor>{at::zeros({1})}, config.optimizer);  // refuses what it does not take
  if (config.encoder.train == "head" && config.encoder.weights.empty())
    throw core::UsageError("train.encoder.train = \"head\" without train.encoder.weights would train a head on random features. Name a file of weights");
  if (config.retention == "weight" && config.retention_threshold <= 0)
    throw core::UsageError("train.retention_threshold = 0: with train.retention = \"weight\" only perfect pairs would count. Use a value above 0");
  if (config.ema >= 1) throw core::UsageError("train.ema = 1: the average would never leave the first weights. Use a value below 1, or 0 for none");
}

TrainResult train(const training::Task& task, const std::vector<data::TranslatedSet>& sets, const TrainConfig& config, const Validate& validate) {
  check_settings(config, task.domains);
  if (config.patience > 0 && !validate) throw core::UsageError("train.patience = {}: nothing is validated. Use 0", config.patience);
  if (config.precision == "fp16" && task.world.device().is_cpu())
    core::warn("train.precision = \"fp16\": on CPUs LibTorch trains convolutions a hundred times as slowly in it as in fp32 or bf16");
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
  return {.best_score = learner.selection().score(),
          .best_epoch = learner.selection().epoch(),
          .selected_by = learner.selection().by(),
          .steps = now.total,
          .now = now,
          .parameters = learner.parameters(),
          .batch_norm_layers = learner.batch_norm_layers(),
          .images_per_step = plan.images_per_step};
}

}  // namespace syncdr::retrieval
