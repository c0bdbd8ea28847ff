#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "syncdr/training/metric_log.h"

/// Event files, as TensorBoard reads them: TFRecords (tensorflow/core/lib/io/record_writer.h) of Event messages (tensorboard/compat/proto/event.proto).
namespace syncdr::training {

/// The figures of one session of a run, FOLDER/events.out.tfevents.NUMBER.syncdr. It begins with the format's version and a session start at the first step
/// that is to come: TensorBoard then forgets what earlier files of the folder have of that step and later ones. It reads files in the order of their names,
/// each to its end before the next, so a session's number is above those that are there.
///
///     record    length u64, masked CRC-32C of it u32, an Event in as many bytes, masked CRC-32C of them u32 (little-endian)
///     Event     1 wall_time double, 2 step int64, then one of: 3 file_version "brain.Event:2", 5 summary, 7 session_log {1 status: 1, START}
///     Summary   1 value, repeated: {1 tag string, 2 simple_value float}
///
/// A tag is a figure's name in log.jsonl. What a killed process has left of a record at a file's end is passed over by readers.
class EventFile {
 public:
  EventFile(const std::filesystem::path& folder, int64_t first_step);
  /// What is not finite is left out, as readers of the log leave it out. Throws IoError.
  void append(int64_t step, const MetricLog::Values& values);
  void sync() const;

 private:
  void write(std::string_view event);
  std::filesystem::path file_;
};

/// The messages and their frame. wall_time: seconds since 1970.
std::string version_event(double wall_time);
std::string session_start_event(double wall_time, int64_t step);
std::string summary_event(double wall_time, int64_t step, const MetricLog::Values& values);
std::string record_of(std::string_view event);

}  // namespace syncdr::training
