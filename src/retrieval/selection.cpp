#include "selection.h"

#include <cmath>

#include "syncdr/io/json.h"

namespace syncdr::retrieval {

Selection::Selection(const std::string& by) : by_labels_(by == "labels"), labels_{.by = "labels"}, unlabelled_{.by = by_labels_ ? "mutual" : by} {}

bool Selection::offer(Choice& choice, double score, int64_t epoch) const {
  if (std::isnan(score) || (choice.epoch > 0 && score <= choice.score)) return false;
  choice.score = score;
  choice.epoch = epoch;
  return true;
}

bool Selection::offer(int64_t epoch, const Validation& found, const std::function<io::NamedTensors()>& copy) {
  const bool by_labels = offer(labels_, found.labels, epoch);
  const bool without = offer(unlabelled_, unlabelled_.by == "uniformity" ? -found.uniformity : found.mutual, epoch);
  if (!by_labels && !without) return false;
  together_ = by_labels && without;
  const auto weights = copy();  // tensors are shared where both prefer them
  if (by_labels) labels_.weights = weights;
  if (without) unlabelled_.weights = weights;
  return &chosen() == &labels_ ? by_labels : without;
}

void Selection::keep(int64_t epoch, io::NamedTensors weights) {
  labels_ = {labels_.by, 0, epoch, std::move(weights)};
  last_ = true;
}

std::vector<std::pair<std::string, io::NamedTensors>> Selection::files() const {
  std::vector<std::pair<std::string, io::NamedTensors>> files{{"encoder.safetensors", chosen().weights}};
  if (differ()) files.emplace_back(other_file(), other().weights);
  return files;
}

training::MetricLog::Values Selection::figures(const Validation& found) {
  training::MetricLog::Values values;
  for (const auto& [name, value] :
       {std::pair{"val_score", found.labels}, {"val_mutual", found.mutual}, {"val_uniformity", found.uniformity}, {"val_alignment", found.alignment}})
    if (!std::isnan(value)) values.emplace_back(name, value);
  return values;
}

boost::json::object Selection::record() const {
  boost::json::object record{{"best_score", chosen().score}, {"best_epoch", chosen().epoch}, {"selected_by", by()}};
  if (other().epoch > 0) {
    record["other_score"] = other().score;
    record["other_epoch"] = other().epoch;
    record["other_by"] = other().by;
    if (differ()) record["other_file"] = other_file();
  }
  return record;
}

void Selection::put(training::Checkpoint& checkpoint) const {
  for (const Choice* choice : {&labels_, &unlabelled_}) {
    checkpoint.state["best_" + choice->by] = {{"score", choice->score}, {"epoch", choice->epoch}};
    if (choice == &labels_ || !together_) training::put_prefix(checkpoint.tensors, choice->weights, "best_" + choice->by + ".");
  }
  checkpoint.state["best_together"] = together_ ? 1 : 0;
  checkpoint.state["best_is_last"] = last_ ? 1 : 0;
}

void Selection::take(const training::Checkpoint& checkpoint, const std::string& where) {
  for (Choice* choice : {&labels_, &unlabelled_}) {
    const auto& kept = io::json_object(checkpoint.state, ("best_" + choice->by).c_str(), where);
    choice->score = io::json_double(kept, "score", where);
    choice->epoch = io::json_int(kept, "epoch", where);
    choice->weights = training::take_prefix(checkpoint.tensors, "best_" + choice->by + ".");
  }
  together_ = io::json_int(checkpoint.state, "best_together", where) != 0;
  last_ = io::json_int(checkpoint.state, "best_is_last", where) != 0;
  if (together_) unlabelled_.weights = labels_.weights;
}

}  // namespace syncdr::retrieval
