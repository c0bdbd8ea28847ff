#include <boost/json/array.hpp>

#include "commands.h"
#include "phases.h"
#include "syncdr/io/json.h"

namespace syncdr::app {
namespace {

std::vector<std::string> arguments_of(const Task& task, const CommonOptions& options) {
  std::vector<std::string> arguments = task.first;
  arguments.push_back(options.config);
  for (const auto& setting : options.sets) arguments.insert(arguments.end(), {"--set", setting});
  arguments.insert(arguments.end(), task.last.begin(), task.last.end());  // of settings the last one counts
  return arguments;
}

void check_fields(const std::vector<std::string>& fields) {
  for (const auto& field : fields)
    if (field.find_first_of("\t\n") != std::string::npos)
      throw core::UsageError("\"{}\" holds a tab or the end of a line: a job cannot take it as an argument. Write it into the configuration file", field);
  if (fields[0].find(',') != std::string::npos) throw core::UsageError("a job cannot be called \"{}\": rename the translated set, without a comma", fields[0]);
}

}  // namespace

int jobs_command(const CommonOptions& options) {
  const Settings settings = read_settings(options.config, options.sets);
  std::string lines;
  boost::json::array jobs;
  for (const Task& task : tasks_of(settings)) {
    const auto arguments = arguments_of(task, options);
    std::vector<std::string> fields{task.name, task.phase->name, task.needs.empty() ? "-" : fmt::format("{}", fmt::join(task.needs, ",")),
                                    task.most_ranks > 0 ? std::to_string(task.most_ranks) : "-", settings.run.out};
    fields.insert(fields.end(), arguments.begin(), arguments.end());
    check_fields(fields);
    lines += fmt::format("{}\n", fmt::join(fields, "\t"));
    jobs.emplace_back(boost::json::object{{"name", task.name},
                                          {"phase", task.phase->name},
                                          {"needs", boost::json::array(task.needs.begin(), task.needs.end())},
                                          {"ranks", task.most_ranks > 0 ? boost::json::value(task.most_ranks) : nullptr},
                                          {"out", settings.run.out},
                                          {"arguments", boost::json::array(arguments.begin(), arguments.end())}});
  }
  if (!options.json.empty()) io::write_json(options.json, jobs);
  fmt::print("{}", lines);
  return 0;
}

}  // namespace syncdr::app
