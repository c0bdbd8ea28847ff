#include "survey.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "syncdr/core/log.h"

namespace syncdr::translate {
using namespace std::chrono_literals;

void Surveyor::pause(bool idle) {
  pause_ = idle ? std::clamp<io::Milliseconds>(2 * pause_, 50ms, 1000ms) : 0ms;
  std::this_thread::sleep_for(pause_);
}

void Surveyor::tell_waiting(int64_t held, const std::string& name, const io::ClaimedFolder::Claim& claim) {
  if (told_ && Clock::now() - *told_ < 60s) return;
  told_ = Clock::now();
  core::info("waiting for units that other jobs make: {} left, {} by {}", held, name, folder_.owner_of(name, claim));
}

Survey Surveyor::look_here(const UnitTable& table) {
  const auto view = folder_.look();
  Survey survey;
  std::string name_held;
  for (const auto unit : table.missing()) {
    const auto name = plan_.file_of(unit);
    const auto claim = view.claims.find(name);
    if (view.files.contains(name)) {
      survey.sealed.push_back(unit);
    } else if (claim == view.claims.end()) {
      survey.open.push_back({unit, 0});
    } else if (claim->second.dead) {
      core::info("{} was claimed by {}, which is gone: taken over", name, folder_.owner_of(name, claim->second));
      survey.open.push_back({unit, claim->second.generation + 1});
    } else {
      ++survey.held;
      name_held = name;
    }
  }
  if (survey.held > 0 && survey.sealed.empty() && survey.open.empty()) tell_waiting(survey.held, name_held, view.claims.at(name_held));
  return survey;
}

Survey Surveyor::look(const UnitTable& table, bool idle) {
  Survey survey;
  world_.root_only("looking at a translation's folder", [&] {
    pause(idle);
    survey = look_here(table);
  });
  constexpr const char* what = "what is left of a translation";
  std::vector<int64_t> units, generations;
  for (const auto& [unit, generation] : std::exchange(survey.open, {})) {
    units.push_back(unit);
    generations.push_back(generation);
  }
  units = world_.broadcast(units, 0, what);
  generations = world_.broadcast(generations, 0, what);
  for (size_t i = 0; i < units.size(); ++i) survey.open.push_back({units[i], generations[i]});
  survey.sealed = world_.broadcast(survey.sealed, 0, what);
  survey.held = world_.broadcast(std::vector<int64_t>{survey.held}, 0, what)[0];
  return survey;
}

}  // namespace syncdr::translate
