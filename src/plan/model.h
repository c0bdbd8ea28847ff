#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "syncdr/plan/plan.h"

/// How long translating and training take on R ranks. Arithmetic alone: no MPI, no tensors, no random numbers. README.md beside this has the
/// formulas and their sources.
namespace syncdr::plan {

/// What a job has besides its work: its start, its failures, its price.
struct PlannedJob {
  double start_seconds = 20;
  double mtbf_hours = 0;
  int64_t ranks_per_node = 1;
  double slowdown = 1;
  double requeue_seconds = 60;
  double price = 0;

  void visit(core::Fields& field) {
    field(start_seconds, "start_seconds", "s from the job's start to its first image or step: MPI, reading models, checking what is sealed", core::at_least(0));
    field(mtbf_hours, "mtbf_hours", "hours between failures of one node, on average; 0: none ever fails", core::at_least(0));
    field(ranks_per_node, "ranks_per_node", "ranks of a node: they fail together and share its link", core::between(1, 1e6));
    field(slowdown, "slowdown",
          "by which a rank computes longer when its node is full than alone on it: figures of 1 rank and of a full node give it, else `syncdr doctor`",
          core::between(1, 100));
    field(requeue_seconds, "requeue_seconds", "s from a failure to the job's next start", core::at_least(0));
    field(price, "price", "price of a rank for an hour, in any currency; 0: no costs are shown", core::at_least(0));
  }
};

struct TranslatePlan {
  int64_t images = 0;
  int64_t variants = 1;
  int64_t directions = 2;
  double seconds_per_image = 0;
  double write_seconds = 0;
  double seal_seconds = 0.02;
  double claim_seconds = 1e-3;
  double direction_seconds = 0;
  std::string device = "gpu";
  int64_t batch = 8;
  int64_t unit_rows = 64;
  int64_t taper = 16;
  double image_bytes = 0;
  double folder_gb = 0;
  PlannedJob job;

  void visit(core::Fields& field) {
    field(images, "images", "source images, all directions together", core::between(0, 1e12));
    field(variants, "variants", "translations of each image", core::between(1, 64));
    field(directions, "directions", "directions, translated one after the other; each has a share of the images and a tail of its own", core::between(1, 1000));
    field(seconds_per_image, "seconds_per_image", "s in which the translator of a rank that is alone on its node makes one image", core::at_least(0));
    field(write_seconds, "write_seconds", "s in which a rank encodes and writes one image, beside the translator", core::at_least(0));
    field(seal_seconds, "seal_seconds", "s to seal a unit: fsync, reading back, linking to its name", core::at_least(0));
    field(claim_seconds, "claim_seconds", "s to claim a unit: rank 0's store and a file", core::at_least(0));
    field(direction_seconds, "direction_seconds", "s of a direction before its first and after its last unit: checks, manifest", core::at_least(0));
    field(device, "device", "gpu: a unit's last batch takes as long as a full one; cpu: images are computed singly", {"gpu", "cpu"});
    field(batch, "batch", "images computed together (translate.batch)", core::between(1, 4096));
    field(unit_rows, "unit_rows", "source images of a unit (translate.unit_rows)", core::between(1, 1 << 20));
    field(taper, "taper", "units shrink once so many are left (translate.taper)", core::between(0, 1 << 20));
    field(image_bytes, "image_bytes", "bytes of a stored image; with folder_gb", core::at_least(0));
    field(folder_gb, "folder_gb", "GB/s (10^9 bytes) that the output folder takes from all ranks together; 0: no limit", core::at_least(0));
    job.visit(field);
  }
};

struct TrainPlan {
  int64_t steps = 0;
  int64_t images_per_step = 0;
  double seconds_per_image = 0;
  double step_seconds = 0;
  int64_t parameters = 0;
  int64_t feature_dim = 512;
  int64_t batch_norm_layers = 0;
  double latency_us = 20;
  double bandwidth_gb = 10;
  double local_latency_us = 0;
  double local_bandwidth_gb = 0;
  std::string all_reduce = "halving";
  double overlap = 0.5;
  int64_t checkpoint_every = 0;
  double checkpoint_seconds = 0;
  PlannedJob job;

  void visit(core::Fields& field) {
    field(steps, "steps", "optimizer steps", core::between(0, 1e12));
    field(images_per_step, "images_per_step", "images that a step encodes, all ranks together", core::between(0, 1e9));
    field(seconds_per_image, "seconds_per_image", "s of a rank that is alone on its node for one image, forward and backward", core::at_least(0));
    field(step_seconds, "step_seconds", "s of a step that more ranks do not shorten: optimizer, bank, launches", core::at_least(0));
    field(parameters, "parameters", "gradient elements, 4 bytes each", core::between(0, 1e13));
    field(feature_dim, "feature_dim", "elements of a feature, 4 bytes each; ranks exchange the features of a step for the memory banks", core::between(0, 1e6));
    field(batch_norm_layers, "batch_norm_layers",
          "layers that normalise over the global batch: two small all-reduces a step each (ResNet-18: 20, ResNet-50: 53)", core::between(0, 1e6));
    field(latency_us, "latency_us", "us of one message between ranks; `syncdr doctor` measures it", core::at_least(0));
    field(bandwidth_gb, "bandwidth_gb", "GB/s (10^9 bytes) between ranks, the slowest link on the way; `syncdr doctor` measures it; 0: no limit",
          core::at_least(0));
    field(local_latency_us, "local_latency_us", "us, where all ranks are on one node; 0: latency_us", core::at_least(0));
    field(local_bandwidth_gb, "local_bandwidth_gb", "GB/s, where all ranks are on one node; 0: bandwidth_gb", core::at_least(0));
    field(all_reduce, "all_reduce",
          "how gradients are summed: halving moves each byte twice, as NCCL does; binomial all bytes at each level of a tree, as Open MPI does",
          {"halving", "binomial"});
    field(overlap, "overlap", "share of the backward pass behind which gradients travel: near 1 on GPUs, 0 where ranks need all cores themselves",
          core::between(0, 1));
    field(checkpoint_every, "checkpoint_every", "steps between checkpoints; 0: none", core::at_least(0));
    field(checkpoint_seconds, "checkpoint_seconds", "s for which a checkpoint holds training up: the copy, if it is written beside training",
          core::at_least(0));
    job.visit(field);
  }
};

/// A part of the time, in s of the whole job: "compute" is what one rank alone would need, divided by the ranks; the others are what is lost.
struct PlanPart {
  const char* name;
  double seconds;
};

/// What is expected of R ranks.
struct PlanPoint {
  int64_t ranks = 1;
  double seconds = 0;           ///< from the first start to the end, waits for restarts among them; infinite: it never ends
  double held = 0;              ///< s of it during which the ranks are held, and paid
  double failures = 0;          ///< expected number
  double efficiency = 0;        ///< compute / held
  double best_checkpoint = 0;   ///< training: the interval of checkpoints in s that costs least (Daly 2006); 0: nothing fails or a checkpoint costs nothing
  std::vector<PlanPart> parts;  ///< sum to seconds; "compute" is first

  double rank_hours() const { return static_cast<double>(ranks) * held / 3600; }
  /// The largest part besides compute.
  const PlanPart& largest_loss() const;
};

PlanPoint plan_translate(const TranslatePlan& plan, int64_t ranks);
/// ranks <= images_per_step: a rank without an image is refused by the trainer too.
PlanPoint plan_train(const TrainPlan& plan, int64_t ranks);

/// Work of which a failure loses what was done since the last multiple of `segment`, in a job that needs `start` s before it works and `requeue` s before
/// it starts again. Failures are Poisson with `rate` a second while the ranks are held, also during a start. Exact in the mean.
struct Expectation {
  double seconds = 0, held = 0, failures = 0;
};
Expectation with_failures(double work, double segment, double rate, double start, double requeue);

/// The time between checkpoints that costs least, for one that takes `cost` s in a job that fails every `mtbf` s (Daly, Future Generation Computer
/// Systems 22, 2006, eq. 37; its first term is Young's, CACM 17, 1974).
double best_checkpoint_interval(double cost, double mtbf);

/// s of an all-reduce of `bytes` over ranks, by plan.all_reduce; link_of is its inverse.
double all_reduce_seconds(const TrainPlan& plan, int64_t ranks, double bytes);
/// s of one step.
double train_step_seconds(const TrainPlan& plan, int64_t ranks);

/// A translation that was measured: one direction of one call.
struct MeasuredTranslation {
  int64_t images = 0, ranks = 1;                             ///< images made by the call
  double seconds = 0;                                        ///< of the call
  double compute_seconds = 0;                                ///< in the translator, summed over ranks
  std::optional<int64_t> variants, batch, unit_rows, taper;  ///< its settings, where they are told
};
/// Sets job.slowdown from translations on different numbers of ranks of a node (least squares); leaves it where there is one number only.
void fit_slowdown(PlannedJob& job, std::span<const MeasuredTranslation> measured);
/// Sets seconds_per_image, and direction_seconds to what the model does not explain.
void calibrate(TranslatePlan& plan, std::span<const MeasuredTranslation> measured);

/// A training that was measured.
struct MeasuredTraining {
  int64_t steps = 0, ranks = 1, images_per_step = 0;
  double seconds = 0;
  int64_t parameters = 0;
  std::optional<int64_t> feature_dim, batch_norm_layers;  ///< where they are told
};
/// Sets seconds_per_image so that the model gives the measured time; from measurements with different numbers of images per rank also step_seconds (least
/// squares).
void calibrate(TrainPlan& plan, std::span<const MeasuredTraining> measured);
/// The same with the slowdown, from 1 to 4, that fits best: three unknowns, so at least three measurements, on different numbers of ranks.
void calibrate_with_slowdown(TrainPlan& plan, std::span<const MeasuredTraining> measured);

}  // namespace syncdr::plan
