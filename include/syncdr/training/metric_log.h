#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace syncdr::training {

class EventFile;

/// A run's figures over its steps, one JSON object a line ({"step": 40, "loss": 3.1}), appended by rank 0. On resume, lines of steps at or after
/// the resumed one are dropped, so that no step is there twice; so is a last line that a kill left unfinished. What is not finite is written as null,
/// since JSON has neither NaN nor infinities. Beside it lie the same figures for TensorBoard, a file for each session (src/training/event_file.h).
class MetricLog {
 public:
  using Values = std::vector<std::pair<std::string, double>>;
  /// first_step: the next step to be logged; 0 begins anew.
  MetricLog(std::filesystem::path file, int64_t first_step);
  ~MetricLog();
  /// Names differ from each other and from "step".
  void append(int64_t step, const Values& values);
  /// Makes what was appended durable: before a checkpoint, so that no line is missing before the step at which a run goes on.
  void sync() const;

 private:
  std::filesystem::path file_;
  std::unique_ptr<EventFile> events_;
};

/// (step, value) of one figure.
using Curve = std::vector<std::pair<int64_t, double>>;

/// A log's figures by name, in the order in which they first occur. Lines without one, or with null, are passed over, and so is an unfinished last line.
/// Throws DataError if the file is missing or broken.
std::vector<std::pair<std::string, Curve>> read_metrics(const std::filesystem::path& file);
/// One of them; empty if there is none.
Curve read_metric(const std::filesystem::path& file, const std::string& name);

}  // namespace syncdr::training
