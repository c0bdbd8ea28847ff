#include "survey.h"

#include <algorithm>
#include <thread>

#include "syncdr/core/log.h"

namespace syncdr::translate {
using namespace std::chrono_literals;

void Surveyor::tell_waiting(int64_t held, const std::string& name, const io::ClaimedFolder::Claim& claim) {
  if (told_ && Clock::now() - *told_ < 60s) return;
  told_ = Clock::now();
  core::info("waiting for units that other jobs make: {} left, {} by {}", held, name, folder_.owner_of(name, claim));
}

Survey Surveyor::look_here(const UnitTable& table) {
  const auto view = folder_.look();
  Survey survey;
  int64_t held = 0;  // units that are not there, and claimed by another job
  std::string name_held;
  for (const auto unit : table.missing()) {
    const auto name = layout_.file_of(unit);
    const auto claim = view.claims.find(name);
    if (view.files.contains(name)) {
      survey.sealed.push_back(unit);
    } else if (claim == view.claims.end()) {
      survey.add_open(unit, 0);
    } else if (claim->second.dead) {
      core::info("{} was claimed by {}, which is gone: taken over", name, folder_.owner_of(name, claim->second));
      survey.add_open(unit, claim->second.generation + 1);
    } else {
      ++held;
      name_held = name;
    }
  }
  if (held > 0 && survey.sealed.empty() && survey.open.empty()) tell_waiting(held, name_held, view.claims.at(name_held));
  return survey;
}

Survey Surveyor::look(const UnitTable& table, bool idle) {
  Survey survey;
  world_.root_only("looking at a translation's folder", [&] {
    pause_ = idle ? std::clamp<io::Milliseconds>(2 * pause_, 50ms, 1000ms) : 0ms;
    std::this_thread::sleep_for(pause_);
    survey = look_here(table);
  });
  constexpr const char* what = "what is left of a translation";
  survey.sealed = world_.broadcast(survey.sealed, 0, what);
  survey.open = world_.broadcast(survey.open, 0, what);
  survey.generations = world_.broadcast(survey.generations, 0, what);
  return survey;
}

}  // namespace syncdr::translate
