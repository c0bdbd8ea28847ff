#include "survey.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <thread>

#include "syncdr/core/log.h"

namespace syncdr::translate {
namespace {

using namespace std::chrono_literals;

constexpr int64_t sealed_row = -1;  // in place of a generation

}  // namespace

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
  auto rows = at::empty({0, 2}, at::kLong);  // [n, 2]: unit, generation; last the number held
  world_.root_only("looking at a translation's folder", [&] {
    pause(idle);
    const auto here = look_here(table);
    rows = at::empty({static_cast<int64_t>(here.sealed.size() + here.open.size()) + 1, 2}, at::kLong);
    auto* row = rows.data_ptr<int64_t>();
    const auto put = [&](int64_t unit, int64_t generation) {
      *row++ = unit;
      *row++ = generation;
    };
    for (const auto unit : here.sealed) put(unit, sealed_row);
    for (const auto& [unit, generation] : here.open) put(unit, generation);
    put(here.held, 0);
  });
  auto count_of_rows = at::full({1}, rows.size(0), at::kLong);
  world_.broadcast(count_of_rows, 0, "how much is left of a translation");
  if (!world_.is_root()) rows = at::empty({count_of_rows.item<int64_t>(), 2}, at::kLong);
  world_.broadcast(rows, 0, "what is left of a translation");
  Survey survey;
  const auto* row = rows.const_data_ptr<int64_t>();
  const auto count = rows.size(0) - 1;
  for (int64_t i = 0; i < count; ++i, row += 2) {
    if (row[1] == sealed_row) {
      survey.sealed.push_back(row[0]);
    } else {
      survey.open.push_back({row[0], row[1]});
    }
  }
  survey.held = row[0];
  return survey;
}

}  // namespace syncdr::translate
