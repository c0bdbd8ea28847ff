#include "syncdr/evaluation/phase_calls.h"

#include <algorithm>
#include <boost/json/array.hpp>

#include "syncdr/io/file.h"
#include "syncdr/io/json.h"

namespace syncdr::evaluation {
namespace {

PhaseCall call_from(const boost::json::object& object, const std::string& where) {
  const auto text = [&](const char* name) { return io::json_string(object, name, where); };
  const auto number = [&](const char* name) { return io::json_int(object, name, where); };
  PhaseCall call{.phase = text("phase"),
                 .subject = text("subject"),
                 .ended = text("ended"),
                 .seconds = io::json_double(object, "seconds", where),
                 .images = number("images"),
                 .ranks = number("ranks"),
                 .threads = number("threads"),
                 .gpus = number("gpus"),
                 .processor = text("processor"),
                 .gpu = text("gpu")};
  for (const auto& host : io::json_array(object, "hosts", where))
    if (host.is_string()) call.hosts.emplace_back(host.get_string());
  call.versions = io::json_texts(io::json_object(object, "versions", where), where);
  return call;
}

}  // namespace

boost::json::object to_json(const PhaseCall& call) {
  boost::json::object versions;
  for (const auto& [name, version] : call.versions) versions[name] = version;
  return {{"phase", call.phase},         {"subject", call.subject}, {"ended", call.ended},
          {"seconds", call.seconds},     {"images", call.images},   {"ranks", call.ranks},
          {"threads", call.threads},     {"gpus", call.gpus},       {"hosts", boost::json::array(call.hosts.begin(), call.hosts.end())},
          {"processor", call.processor}, {"gpu", call.gpu},         {"versions", std::move(versions)}};
}

std::vector<PhaseCall> read_calls(const std::filesystem::path& folder) {
  std::vector<PhaseCall> calls;
  if (!std::filesystem::is_directory(folder)) return calls;
  auto names = io::names_in(folder);
  std::sort(names.begin(), names.end());
  for (const auto& name : names) {
    if (!name.ends_with(".json")) continue;
    const auto file = folder / name;
    const auto value = io::read_json(file);
    calls.push_back(call_from(io::as_object(value, file.string()), file.string()));
  }
  std::stable_sort(calls.begin(), calls.end(), [](const PhaseCall& a, const PhaseCall& b) { return a.ended < b.ended; });
  return calls;
}

std::vector<PhaseCost> costs_of(const std::vector<PhaseCall>& calls) {
  std::vector<PhaseCost> costs;
  for (const PhaseCall& call : calls) {
    auto found = std::find_if(costs.begin(), costs.end(), [&](const PhaseCost& cost) { return cost.phase == call.phase && cost.subject == call.subject; });
    if (found == costs.end()) found = costs.insert(costs.end(), PhaseCost{.phase = call.phase, .subject = call.subject});
    ++found->calls;
    found->seconds += call.seconds;
    found->thread_hours += call.thread_hours();
    found->gpu_hours += call.gpu_hours();
    found->images += call.images;
    if (call.images > 0) found->seconds_of_images += call.seconds;
  }
  return costs;
}

}  // namespace syncdr::evaluation
