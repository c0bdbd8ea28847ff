#include "syncdr/retrieval/trainer.h"

#include <boost/json.hpp>
#include <chrono>

#include "fill_bank.h"
#include "objective.h"
#include "run_record.h"
#include "step_log.h"
#include "syncdr/core/log.h"
#include "syncdr/core/progress.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/json.h"
#include "syncdr/nn/weights.h"
#include "syncdr/training/autocast.h"
#include "syncdr/training/checkpoint_writer.h"
#include "syncdr/training/data_parallel.h"
#include "syncdr/training/optimizer.h"

namespace syncdr::retrieval {
namespace {

// Convolutions in channels-last layout use tensor cores, and oneDNN's blocked kernels, without reordering each activation.
void to_channels_last(torch::nn::Module& module) {
  for (at::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

// Module::to would convert the counters of batches too.
void to_double(torch::nn::Module& module) {
  std::vector<at::Tensor> tensors = module.parameters();
  for (const at::Tensor& buffer : module.buffers()) tensors.push_back(buffer);
  for (at::Tensor& tensor : tensors) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.to(at::kDouble));
  }
}

io::NamedTensors copy_on_cpu(const io::NamedTensors& tensors) {
  io::NamedTensors copies;
  for (const auto& [name, tensor] : tensors)
    copies[name] = tensor.detach().to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
  return copies;
}

/// One training, from its start or its newest checkpoint to done.json.
class Training {
 public:
  Training(comm::World& world, const data::PairSet& a, const data::PairSet& b, const TrainConfig& config, uint64_t seed,
           const Validate& validate, const std::filesystem::path& out, boost::json::object identity);
  TrainResult run();

 private:
  bool restore();
  void train_steps();
  void step(int64_t index, const at::Tensor& images);
  void end_epoch(int64_t epoch);
  void validate(int64_t epoch);
  void save(int64_t next_step);
  void finish(const TrainResult& result);
  int64_t steps() const { return steps_; }
  int64_t epochs() const { return (steps() + batches_.steps_per_epoch() - 1) / batches_.steps_per_epoch(); }  // the last may be cut short

  comm::World& world_;
  const std::array<const data::PairSet*, 2> sets_;
  const TrainConfig& config_;
  const Validate& validate_;
  std::filesystem::path out_;
  boost::json::object identity_;
  training::CheckpointWriter checkpoints_;
  GlobalBatches batches_;
  Encoder encoder_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::unique_ptr<training::DataParallel> parallel_;
  std::unique_ptr<StepLog> log_;
  std::vector<MemoryBank> banks_;  // of A and B
  int64_t steps_ = 0, next_step_ = 0;
  double validation_seconds_ = 0;
  double best_score_ = 0;
  int64_t best_epoch_ = 0;  // 0: none yet
  io::NamedTensors best_;   // on rank 0
};

Training::Training(comm::World& world, const data::PairSet& a, const data::PairSet& b, const TrainConfig& config, uint64_t seed,
                   const Validate& validate, const std::filesystem::path& out, boost::json::object identity)
    : world_(world),
      sets_{&a, &b},
      config_(config),
      validate_(validate),
      out_(out),
      identity_(std::move(identity)),
      checkpoints_(world, out / "checkpoints"),
      batches_(a, b, config.batch, seed, world.rank(), world.size()),
      encoder_(make_encoder(config.encoder, seed)),
      steps_(config.images > 0 ? std::max<int64_t>(1, config.images / batches_.at(0).images) : config.epochs * batches_.steps_per_epoch()) {
  encoder_->to(world.device());
  if (config.precision == "fp64") to_double(*encoder_);
  to_channels_last(*encoder_);
  encoder_->set_batch_norm(training::sum_over_ranks(world));
  optimizer_ = training::make_optimizer(encoder_->parameters(), config.optimizer);
  const bool resumed = restore();
  parallel_ = std::make_unique<training::DataParallel>(world, *encoder_);
  if (!resumed) {
    for (const at::Tensor& rows : fill_banks(world, encoder_, sets_, config, seed)) banks_.emplace_back(rows, config.bank_momentum);
  }
  log_ = std::make_unique<StepLog>(world, config_, out / "log.jsonl", next_step_);
}

// Every rank reads the checkpoint: datasets lie on a file system that all ranks see, so does this.
bool Training::restore() {
  std::optional<training::Checkpoint> checkpoint = checkpoints_.folder().latest();
  const int64_t found = checkpoint ? checkpoint->step : -1, newest = world_.all_reduce_max(found, "the newest checkpoint");
  if (found != newest)
    throw core::IoError("{}: this rank sees step {}, another step {}. All ranks need the same file system.",
                        (out_ / "checkpoints").string(), found, newest);
  if (!checkpoint) return false;
  const std::string where = fmt::format("{}, step {}", (out_ / "checkpoints").string(), checkpoint->step);
  check_identity(io::json_object(checkpoint->state, "identity", where), identity_, out_);
  nn::load_state(*encoder_, training::take_prefix(checkpoint->tensors, "model."), where);
  training::load_optimizer_state(*optimizer_, training::take_prefix(checkpoint->tensors, "optimizer."), where);
  const io::NamedTensors banks = training::take_prefix(checkpoint->tensors, "bank.");
  for (size_t k = 0; k < 2; ++k) {
    const auto bank = banks.find(k == 0 ? "a" : "b");
    if (bank == banks.end() || bank->second.sizes() != at::IntArrayRef({sets_[k]->size(), config_.encoder.dim})) {
      throw core::DataError("{}: no memory bank of {} rows for domain {}", where, sets_[k]->size(), k == 0 ? "A" : "B");
    }
    banks_.emplace_back(bank->second.to(world_.device(), encoder_->parameters().front().scalar_type()), config_.bank_momentum);
  }
  next_step_ = checkpoint->step;
  best_score_ = io::json_double(checkpoint->state, "best_score", where);
  best_epoch_ = io::json_int(checkpoint->state, "best_epoch", where);
  if (world_.is_root()) best_ = training::take_prefix(checkpoint->tensors, "best.");
  core::info("training goes on at step {} of {}", next_step_, steps());
  return true;
}

void Training::save(int64_t next_step) {
  checkpoints_.save([&] {
    log_->sync();
    training::Checkpoint checkpoint{.step = next_step};
    training::put_prefix(checkpoint.tensors, nn::state_of(*encoder_), "model.");
    training::put_prefix(checkpoint.tensors, training::optimizer_state(*optimizer_), "optimizer.");
    training::put_prefix(checkpoint.tensors, best_, "best.");
    training::put_prefix(checkpoint.tensors, {{"a", banks_[0].rows()}, {"b", banks_[1].rows()}}, "bank.");
    // No random state: order and augmentation are functions of seed and step.
    checkpoint.state = {{"identity", identity_}, {"best_score", best_score_}, {"best_epoch", best_epoch_}};
    return checkpoint;
  });
}

void Training::step(int64_t index, const at::Tensor& images) {
  const GlobalBatch batch = batches_.at(index);
  const double rate = training::learning_rate_at(config_.optimizer, index, steps());
  training::set_learning_rate(*optimizer_, rate);
  parallel_->before_forward();
  at::Tensor features;  // of this rank's images
  {
    const training::Autocast autocast(world_.device(), config_.precision == "bf16");
    features = encoder_->forward(normalise_images(images, world_.device()));
  }
  const at::Tensor gathered = training::gather_with_own_gradient(world_, features, "features of the global batch");
  const bool with_matching =
      config_.matching_weight > 0 && static_cast<double>(index) >= config_.matching_start * static_cast<double>(steps());
  const LossShare loss = loss_share(config_, batch, gathered, banks_, with_matching, world_.size());
  parallel_->backward(loss.backward);
  optimizer_->step();
  for (size_t k = 0; k < 2; ++k) {
    const DomainBatch& domain = batch.domains[k];
    banks_[k].update(domain.ids, gathered.detach().index_select(0, domain.features.to(gathered.device())));
  }
  log_->add(index, rate, loss.values, batch.images);
}

void Training::train_steps() {
  const bool pin = world_.device().is_cuda();
  const auto load = [&](int64_t index) {
    const at::Tensor images = batches_.load(index, config_.augment);
    return pin ? images.pin_memory() : images;
  };
  const int64_t per_epoch = batches_.steps_per_epoch();
  core::Progress progress("training", steps(), "steps", next_step_);
  data::Prefetcher<at::Tensor> images(load, next_step_, steps(), config_.loader_threads);
  encoder_->train();
  while (next_step_ < steps()) {
    log_->begin_step();
    step(next_step_, images.next());
    const bool epoch_ends = ++next_step_ % per_epoch == 0 || next_step_ == steps();
    const bool stop = (log_->full() || epoch_ends) && log_->flush();
    progress.advance(1, fmt::format("loss {:.3f}", log_->last_loss()));
    if (epoch_ends) end_epoch((next_step_ + per_epoch - 1) / per_epoch);
    if (!stop || next_step_ == steps()) continue;
    save(next_step_);
    checkpoints_.finish();
    throw core::StopRequested("training stopped on request after step {} of {}; {} holds its state, the same command goes on", next_step_,
                              steps(), out_.string());
  }
}

/// epoch counts from 1.
void Training::end_epoch(int64_t epoch) {
  const bool last = next_step_ == steps();
  if (last || epoch % config_.validate_every == 0) validate(epoch);
  if (last || epoch % config_.checkpoint_every == 0) save(next_step_);
}

void Training::validate(int64_t epoch) {
  if (validate_) {
    const auto start = std::chrono::steady_clock::now();
    encoder_->eval();
    const double own_score = validate_(encoder_);
    encoder_->train();
    validation_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    at::Tensor score = at::full({1}, own_score, at::kDouble);
    world_.broadcast(score, 0, "the validation's score");
    log_->validated(next_step_ - 1, score.item<double>());
    core::info("epoch {} of {}: loss {:.4f}, validation {:.4f}", epoch, epochs(), log_->last_loss(), score.item<double>());
    if (best_epoch_ > 0 && score.item<double>() <= best_score_) return;
    best_score_ = score.item<double>();
  }
  best_epoch_ = epoch;  // without validation the last one is kept
  if (world_.is_root()) best_ = copy_on_cpu(nn::state_of(*encoder_));
}

void Training::finish(const TrainResult& result) {
  checkpoints_.finish();
  world_.root_only("saving the trained encoder", [&] {
    const auto& writer = checkpoints_.folder().writer();
    save_encoder(writer.desk() / "result" / "encoder.safetensors", best_, config_.encoder);
    writer.seal_files("result", out_);
    write_done(writer.desk(), identity_, result);
    writer.seal("done.json", out_ / "done.json");
  });
}

TrainResult Training::run() {
  const auto start = std::chrono::steady_clock::now();
  const int64_t first_step = next_step_;
  train_steps();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  TrainResult result{.best_score = best_score_, .best_epoch = best_epoch_, .steps = steps(), .seconds = seconds, .steps_now = steps() - first_step};
  result.step_seconds = seconds - validation_seconds_;
  result.images_per_step = batches_.at(0).images;
  for (const at::Tensor& parameter : encoder_->parameters()) result.parameters += parameter.numel();
  finish(result);
  return result;
}

}  // namespace

TrainResult train(comm::World& world, const data::Dataset& dataset, const std::string& domain_a, const std::string& domain_b,
                  const std::string& run, const TrainConfig& config, uint64_t seed, const Validate& validate,
                  const std::filesystem::path& out) {
  const data::PairSet a(dataset, domain_a, domain_b, run, "train", config.variants), b(dataset, domain_b, domain_a, run, "train", config.variants);
  const boost::json::object identity = run_identity(config, seed, domain_a, domain_b, run, a, b);
  if (const auto done = read_done(world, out, identity)) return *done;
  world.root_only("making the folder of training", [&] {
    std::error_code error;
    std::filesystem::create_directories(out, error);
    if (error) throw core::IoError("{}: {}", out.string(), error.message());
  });
  return Training(world, a, b, config, seed, validate, out, identity).run();
}

}  // namespace syncdr::retrieval
