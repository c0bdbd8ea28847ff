#include "syncdr/training/metric_log.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <optional>
#include <set>
#include <system_error>

#include "event_file.h"
#include "syncdr/core/error.h"
#include "syncdr/core/fault.h"
#include "syncdr/core/log.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::training {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::string line_of(int64_t step, const MetricLog::Values& values) {
  std::string line = fmt::format("{{\"step\": {}", step);
  std::set<std::string> names{"step"};
  for (const auto& [name, value] : values) {
    SYNCDR_ASSERT(names.insert(name).second, "\"{}\" is there twice in one line of figures", name);
    // The shortest text that reads back to the same bits.
    const std::string number = std::isfinite(value) ? fmt::format("{}", value) : "null";
    line += fmt::format(", {}: {}", json::serialize(json::value(name)), number);
  }
  return line + "}\n";
}

struct Line {
  std::string text;   // without its end
  std::string where;  // "FILE: line 3"
};

// Without what a process that was killed while it wrote left behind the last end of a line.
std::vector<Line> lines_of(const fs::path& file) {
  const std::string content = io::read_file(file);
  std::vector<Line> lines;
  size_t begin = 0;
  for (size_t end = content.find('\n'); end != std::string::npos; end = content.find('\n', begin)) {
    lines.push_back({content.substr(begin, end - begin), fmt::format("{}: line {}", file.string(), lines.size() + 1)});
    begin = end + 1;
  }
  return lines;
}

// A line's step, or nothing if the line is broken: figures are no reason to refuse to resume.
std::optional<int64_t> readable_step(const Line& line) {
  try {
    const json::value value = io::parse_json(line.text, line.where);
    return io::json_int(io::as_object(value, line.where), "step", line.where);
  } catch (const core::DataError& error) {
    core::warn("{}. The line is dropped.", error.what());
    return std::nullopt;
  }
}

}  // namespace

MetricLog::MetricLog(fs::path file, int64_t first_step) : file_(std::move(file)) {
  std::string kept;
  if (first_step > 0 && fs::exists(file_)) {
    for (const Line& line : lines_of(file_)) {
      const auto step = readable_step(line);
      if (step && *step < first_step) kept += line.text + "\n";
    }
  }
  io::write_file(file_, kept);
  events_ = std::make_unique<EventFile>(file_.parent_path(), first_step);
}

MetricLog::~MetricLog() = default;

void MetricLog::sync() const {
  io::sync_path(file_);
  events_->sync();
}

void MetricLog::append(int64_t step, const Values& values) {
  core::fault_point("metric_log.before_append", file_.native());
  std::ofstream out(file_, std::ios::app);
  out << line_of(step, values) << std::flush;
  if (!out) throw core::IoError("{}: figures of step {} cannot be appended: {}", file_.string(), step, std::generic_category().message(errno));
  events_->append(step, values);
}

std::vector<std::pair<std::string, Curve>> read_metrics(const fs::path& file) {
  std::vector<std::pair<std::string, Curve>> curves;
  const auto curve_of = [&](const std::string& name) -> Curve& {
    const auto found = std::find_if(curves.begin(), curves.end(), [&](const auto& curve) { return curve.first == name; });
    return found == curves.end() ? curves.emplace_back(name, Curve{}).second : found->second;
  };
  for (const Line& line : lines_of(file)) {
    const json::value value = io::parse_json(line.text, line.where);
    const json::object& object = io::as_object(value, line.where);
    const int64_t step = io::json_int(object, "step", line.where);
    for (const auto& [key, figure] : object) {
      const std::string name(key);
      if (name != "step" && !figure.is_null()) curve_of(name).emplace_back(step, io::json_double(object, name.c_str(), line.where));
    }
  }
  return curves;
}

Curve read_metric(const fs::path& file, const std::string& name) {
  for (auto& [found, curve] : read_metrics(file)) {
    if (found == name) return std::move(curve);
  }
  return {};
}

}  // namespace syncdr::training
