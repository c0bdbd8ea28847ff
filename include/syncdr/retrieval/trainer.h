#pragma once
#include <functional>
#include <string>
#include <vector>

#include "syncdr/data/augment.h"
#include "syncdr/data/translations.h"
#include "syncdr/retrieval/encoder_config.h"
#include "syncdr/retrieval/memory_bank.h"
#include "syncdr/retrieval/validation.h"
#include "syncdr/training/optimizer_config.h"
#include "syncdr/training/run.h"

namespace syncdr::retrieval {

class Encoder;

/// Training of the retrieval model; the defaults are the paper's. L = instance L_ID + matching L_CDM + pairs L_PPP (src/retrieval/README.md has each of n
/// domains).
struct TrainConfig {
  EncoderConfig encoder;
  training::OptimizerConfig optimizer;
  data::AugmentConfig augment;
  BankConfig bank;
  int64_t epochs = 15;
  int64_t images = 0;
  int64_t variants = 0;
  std::vector<std::string> shares;
  int64_t batch = 32;
  int64_t chunk = 0;
  double temperature = 0.1;
  double instance_temperature = 0;
  double matching_temperature = 0;
  double instance_weight = 1;
  double matching_weight = 1;
  int64_t matching_top = 700;
  double matching_start = 0;
  std::vector<std::string> matching_directions;
  double pair_weight = 0.5;
  double pair_temperature = 1;
  std::string pair_direction = "counterpart-to-image";
  double bank_momentum = 0.5;
  std::string retention = "off";
  double retention_threshold = 0.1;
  std::string select = "labels";
  int64_t kept_views = 8;
  std::string kept_folder;
  double ema = 0;
  int64_t patience = 0;
  std::string precision = "fp32";
  int64_t log_every = 10;
  int64_t validate_every = 0;
  int64_t checkpoint_every = 0;
  int64_t loader_threads = 0;

  void visit(core::Fields& field) {
    field.group(encoder, "encoder", "the network");
    field.group(optimizer, "optimizer", "how it is trained");
    field.group(augment, "augment", "random changes of training images");
    field.group(bank, "bank", "memory banks");
    field(epochs, "epochs", "passes over the longer domain", core::at_least(1));
    field(images, "images", "images to encode instead of epochs: arms with pairs encode two an entry, so all arms then cost the same; 0: epochs",
          core::at_least(0));
    field(variants, "variants", "train on the first so many variants of each translation, one drawn at each access; 0: all", core::between(0, 64));
    field(
        shares, "shares",
        "an arm of several translated sets, as cut+filter, draws from each by its share: NAME=SHARE, as in [\"cut=1\", \"filter=2\"]; those not named have 1");
    field(batch, "batch", "images of the shortest domain in a global batch; each other domain's are scaled by the ratio of lengths", core::at_least(2));
    field(chunk, "chunk",
          "images that a rank encodes at once with gradients, each twice, while losses stay those of the whole batch: for batches that do not fit. Batch "
          "normalisation then sees a chunk (global: of all ranks) and moves its averages once a chunk; 0: all",
          core::at_least(0));
    field(temperature, "temperature", "softmax temperature of both memory losses", core::above(0));
    field(instance_temperature, "instance_temperature", "that of instance discrimination; 0: train.temperature", core::at_least(0));
    field(matching_temperature, "matching_temperature", "that of cross-domain matching; 0: train.temperature", core::at_least(0));
    field(instance_weight, "instance_weight", "weight of instance discrimination", core::at_least(0));
    field(matching_weight, "matching_weight", "weight of cross-domain matching; 1 suits pretrained encoders", core::at_least(0));
    field(matching_top, "matching_top", "rows of the other bank that matching looks at", core::at_least(1));
    field(matching_start, "matching_start", "share of the steps before matching sets in", core::between(0, 1));
    field(matching_directions, "matching_directions", "whose features look into whose bank (\"sketch->photo\"); empty: all into all others'");
    field(pair_weight, "pair_weight", "weight of pseudo-positive pairs", core::at_least(0));
    field(pair_temperature, "pair_temperature", "softmax temperature of pseudo-positive pairs", core::above(0));
    field(pair_direction, "pair_direction", "which of a pair must find the other among the batch's; both: the mean of the two losses",
          {"counterpart-to-image", "image-to-counterpart", "both"});
    field(bank_momentum, "bank_momentum", "share of the old row in a memory bank's update", core::between(0, 1));
    field(
        retention, "retention",
        "what becomes of pairs whose translation has not kept what its source shows, as the encoder sees it before training: drop leaves them out like "
        "quarantined ones, weight lets each pair count threshold / (threshold + share), whatever set it is of; a batch's loss is divided by the sum of weights",
        {"off", "drop", "weight"});
    field(
        retention_threshold, "retention_threshold",
        "share of the other images that are nearer than the own one, mean of translation to source and back (0.5 is chance), above which a pair is dropped, or "
        "where its weight is 1/2",
        core::between(0, 1));
    field(select, "select",
          "what the kept epoch is best in: Prec@1 of labelled validation images, or without labels mutual neighbours across domains or uniformity of features; "
          "where images have no labels, labels means mutual",
          {"labels", "mutual", "uniformity"});
    field(
        kept_views, "kept_views",
        "encoder.train = \"head\": augmented views of each image whose features are computed once, by the backbone that stays, and kept; 0: at each step anew",
        core::between(0, 1000));
    field(kept_folder, "kept_folder", "where they are kept, and ranks of pairs; empty: features in the run's folder. Runs can share it");
    field(ema, "ema", "decay of a moving average of the weights, which is then validated and saved in their place; 0: none", core::between(0, 1));
    field(patience, "patience", "validations in a row without a better score after which training ends; 0: never", core::at_least(0));
    field(precision, "precision",
          "arithmetic: bf16 and fp16 are autocast of the encoder, fp16 with loss scaling; fp64, slow, makes runs on different numbers of ranks comparable",
          {"fp32", "bf16", "fp16", "fp64"});
    field(log_every, "log_every", "steps between log lines", core::at_least(1));
    field(validate_every, "validate_every", "steps between validations; 0: those of an epoch", core::at_least(0));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints; 0: those of an epoch", core::at_least(0));
    field(loader_threads, "loader_threads", "threads of a rank that decode and augment; 0: its share of the cores", core::between(0, 1024));
  }
};

/// Whether a training works on kept features.
inline bool keeps_features(const TrainConfig& config) { return config.encoder.train == "head" && config.kept_views > 0; }

/// Throws UsageError where settings contradict each other, or name what there is not among the domains or the encoder's layers.
void check_settings(const TrainConfig& config, const std::vector<std::string>& domains);

struct TrainResult {
  double best_score = 0;          ///< validation score of the kept epoch, in `selected_by`
  int64_t best_epoch = 0;         ///< 1-based
  std::string selected_by;        ///< config.select, what stands in for labels, or "last" where nothing was validated
  int64_t steps = 0;              ///< fewer than planned if patience ended it
  training::RunResult now;        ///< of this call alone, as what follows; 0 if it found the training finished
  int64_t parameters = 0;         ///< numbers whose gradient is averaged over ranks
  int64_t batch_norm_layers = 0;  ///< that take statistics over all ranks
  int64_t images_per_step = 0;
};

/// Called by all ranks, with the encoder in evaluation mode; the values of rank 0 count.
using Validate = std::function<Validation(Encoder& encoder)>;

/// Trains on the domains' training images and their translations by `sets` (none: CDS, the baseline without pairs), by training::run, on any number of
/// ranks. Each set brings its own share and variants: config's are for those who name sets. Leaves encoder.safetensors of the best epoch (metadata:
/// EncoderConfig as TOML). The log has loss, its terms loss_id, loss_cdm and loss_ppp before their weights, and what validation found (val_score: by labels);
/// done.json has best_score, best_epoch and selected_by. The epoch that would be kept with labels instead of without, or the other way round, is kept beside it
/// where it is another (selection.h). Throws as training::run.
TrainResult train(const training::Task& task, const std::vector<data::TranslatedSet>& sets, const TrainConfig& config, const Validate& validate);

}  // namespace syncdr::retrieval
