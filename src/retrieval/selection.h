#pragma once
#include <functional>
#include <string>
#include <vector>

#include "syncdr/io/safetensors.h"
#include "syncdr/retrieval/validation.h"
#include "syncdr/training/checkpoint.h"
#include "syncdr/training/metric_log.h"

namespace syncdr::retrieval {

/// Which epoch of a training is kept: the one that validation with labels prefers, and the one that is preferred without them. `by` ("labels", "mutual",
/// "uniformity") says which of the two is the training's result; without labels it is the other. Every rank has the scores, rank 0 the weights.
class Selection {
 public:
  explicit Selection(const std::string& by);

  /// copy() gives the encoder's weights on rank 0, nothing elsewhere; it is called if they are the best so far. The first offer is always the best.
  /// Returns whether it is the best by what counts.
  bool offer(int64_t epoch, const Validation& found, const std::function<io::NamedTensors()>& copy);

  /// Where nothing is validated: this epoch is the one, by "last".
  void keep(int64_t epoch, io::NamedTensors weights);

  double score() const { return chosen().score; }
  int64_t epoch() const { return chosen().epoch; }  ///< 0: there was no offer yet
  std::string by() const { return last_ ? "last" : chosen().by; }
  /// encoder.safetensors, and the other choice where it was made in another validation, as encoder-unlabelled.safetensors or encoder-labels.safetensors:
  /// names and weights. On rank 0.
  std::vector<std::pair<std::string, io::NamedTensors>> files() const;

  /// For the log: val_score and whatever else is known.
  static training::MetricLog::Values figures(const Validation& found);
  /// {"best_score", "best_epoch", "selected_by"}, and where there is another choice {"other_score", "other_epoch", "other_by"}, with "other_file" where it
  /// has one of its own.
  boost::json::object record() const;
  void put(training::Checkpoint& checkpoint) const;
  /// Throws DataError naming `where`.
  void take(const training::Checkpoint& checkpoint, const std::string& where);

 private:
  struct Choice {
    std::string by;
    double score = 0;
    int64_t epoch = 0;  // 0: none; unknown scores are never kept
    io::NamedTensors weights;
  };
  bool offer(Choice& choice, double score, int64_t epoch) const;
  const Choice& chosen() const { return by_labels_ && labels_.epoch > 0 ? labels_ : unlabelled_.epoch > 0 ? unlabelled_ : labels_; }
  std::string other_file() const { return std::string(&other() == &labels_ ? "encoder-labels" : "encoder-unlabelled") + ".safetensors"; }
  bool differ() const { return other().epoch > 0 && !together_; }
  const Choice& other() const { return &chosen() == &labels_ ? unlabelled_ : labels_; }

  bool by_labels_;
  Choice labels_, unlabelled_;
  bool last_ = false;      // nothing was validated
  bool together_ = false;  // both were made in one validation; an epoch may have several
};

}  // namespace syncdr::retrieval
