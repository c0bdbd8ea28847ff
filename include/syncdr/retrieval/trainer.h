#pragma once
#include <functional>
#include <string>
#include <vector>

#include "syncdr/data/augment.h"
#include "syncdr/data/translations.h"
#include "syncdr/retrieval/encoder_config.h"
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
  int64_t epochs = 15;
  int64_t images = 0;
  int64_t variants = 0;
  std::vector<std::string> shares;
  int64_t batch = 32;
  double temperature = 0.1;
  double instance_weight = 1;
  double matching_weight = 1;
  int64_t matching_top = 700;
  double matching_start = 0;
  double pair_weight = 0.5;
  double pair_temperature = 1;
  double bank_momentum = 0.5;
  std::string precision = "fp32";
  int64_t log_every = 10;
  int64_t validate_every = 0;
  int64_t checkpoint_every = 0;
  int64_t loader_threads = 1;

  void visit(core::Fields& field) {
    field.group(encoder, "encoder", "the network");
    field.group(optimizer, "optimizer", "how it is trained");
    field.group(augment, "augment", "random changes of training images");
    field(epochs, "epochs", "passes over the domains' training sets", core::at_least(1));
    field(images, "images", "images to encode instead of epochs: arms with pairs encode two an entry, so all arms then cost the same; 0: epochs",
          core::at_least(0));
    field(variants, "variants", "train on the first so many variants of each translation, one drawn at each access; 0: all", core::between(0, 64));
    field(
        shares, "shares",
        "an arm of several translated sets, as cut+filter, draws from each by its share: NAME=SHARE, as in [\"cut=1\", \"filter=2\"]; those not named have 1");
    field(batch, "batch", "images of the shortest domain in a global batch; each other domain's are scaled by the ratio of lengths", core::at_least(2));
    field(temperature, "temperature", "softmax temperature of both memory losses", core::above(0));
    field(instance_weight, "instance_weight", "weight of instance discrimination", core::at_least(0));
    field(matching_weight, "matching_weight", "weight of cross-domain matching; 1 suits pretrained encoders", core::at_least(0));
    field(matching_top, "matching_top", "rows of the other bank that matching looks at", core::at_least(1));
    field(matching_start, "matching_start", "share of the steps before matching sets in", core::between(0, 1));
    field(pair_weight, "pair_weight", "weight of pseudo-positive pairs", core::at_least(0));
    field(pair_temperature, "pair_temperature", "softmax temperature of pseudo-positive pairs", core::above(0));
    field(bank_momentum, "bank_momentum", "share of the old row in a memory bank's update", core::between(0, 1));
    field(precision, "precision", "arithmetic: bf16 is autocast of the encoder; fp64, slow, makes runs on different numbers of ranks comparable",
          {"fp32", "bf16", "fp64"});
    field(log_every, "log_every", "steps between log lines", core::at_least(1));
    field(validate_every, "validate_every", "steps between validations; 0: those of an epoch", core::at_least(0));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints; 0: those of an epoch", core::at_least(0));
    field(loader_threads, "loader_threads", "threads of a rank that decode and augment", core::between(0, 64));
  }
};

struct TrainResult {
  double best_score = 0;   ///< validation score of the kept epoch
  int64_t best_epoch = 0;  ///< 1-based
  int64_t steps = 0;
  training::RunResult now;  ///< of this call alone, as what follows; 0 if it found the training finished
  int64_t parameters = 0;   ///< numbers whose gradient is averaged over ranks
  int64_t images_per_step = 0;
};

/// Higher is better: mean Prec@1 of all directions on validation images. Called by all ranks; the value of rank 0 counts.
using Validate = std::function<double(Encoder& encoder)>;

/// Trains on the domains' training images and their translations by `sets` (none: CDS, the baseline without pairs), by training::run, on any number of
/// ranks. Each set brings its own share and variants: config's are for those who name sets. Leaves encoder.safetensors of the best epoch (metadata:
/// EncoderConfig as TOML). The log has loss, its terms loss_id, loss_cdm and loss_ppp before their weights, and val_score; done.json has best_score and
/// best_epoch. Throws as training::run.
TrainResult train(const training::Task& task, const std::vector<data::TranslatedSet>& sets, const TrainConfig& config, const Validate& validate);

}  // namespace syncdr::retrieval
