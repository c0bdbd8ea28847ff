#include "syncdr/doctor/doctor.h"

#include <fmt/format.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "findings.h"
#include "syncdr/io/json.h"

namespace syncdr::doctor {
namespace {

constexpr size_t shown_hosts = 3;

/// A finding and whose it is.
struct Report {
  Finding finding;
  std::string host;
};

std::string some_of(const std::set<std::string>& names) {
  const std::vector<std::string> first(names.begin(), std::next(names.begin(), static_cast<ptrdiff_t>(std::min(shown_hosts, names.size()))));
  return fmt::format("{}{}", fmt::join(first, ", "), names.size() > shown_hosts ? fmt::format(" and {} more", names.size() - shown_hosts) : "");
}

boost::json::object to_json(const Finding& finding) {
  return {{"what", finding.what}, {"found", finding.found}, {"mend", finding.mend}, {"health", static_cast<int>(finding.health)},
          {"margin", finding.margin}, {"if_they_differ", finding.if_they_differ}, {"figures", finding.figures}};
}

Finding from_json(const boost::json::object& object) {
  const char* where = "findings of a rank";
  return {.what = io::json_string(object, "what", where), .found = io::json_string(object, "found", where), .mend = io::json_string(object, "mend", where),
          .health = static_cast<Health>(io::json_int(object, "health", where)), .margin = io::json_double(object, "margin", where),
          .if_they_differ = io::json_string(object, "if_they_differ", where), .figures = io::json_object(object, "figures", where)};
}

/// Every rank's findings, on every rank.
std::vector<Report> gather(comm::World& world, const Findings& own) {
  boost::json::array array;
  for (const auto& finding : own) array.push_back(to_json(finding));
  const auto hosts = world.gather(world.host(), "gathering the hosts");
  const auto texts = world.gather(io::pretty_json(array), "gathering the findings");
  std::vector<Report> reports;
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    const auto document = io::parse_json(texts[rank], "findings of a rank");
    for (const auto& item : document.as_array()) reports.push_back({from_json(item.as_object()), hosts[rank]});
  }
  return reports;
}

/// A line of the table: one finding for all the hosts that share it.
struct Line {
  Finding finding;
  std::set<std::string> hosts;
  bool all = true;      ///< the hosts are all that were asked
  bool differ = false;  ///< they found different things of the same health
  std::string least;    ///< the host whose finding is shown
};

void add_to(Line& line, const Report& report) {
  line.hosts.insert(report.host);
  line.differ |= report.finding.found != line.finding.found;
  if (line.finding.figures.empty()) line.finding.figures = report.finding.figures;
  if (report.finding.margin >= line.finding.margin) return;
  auto figures = std::move(line.finding.figures);
  line.finding = report.finding;
  line.finding.figures = std::move(figures);
  line.least = report.host;
}

/// Different programs on the ranks of one job: every version with its hosts.
std::optional<Line> difference(const std::vector<const Report*>& reports) {
  std::map<std::string, std::set<std::string>> seen;
  for (const auto* report : reports) seen[report->finding.found].insert(report->host);
  const auto& first = reports.front()->finding;
  if (first.if_they_differ.empty() || seen.size() == 1) return std::nullopt;
  std::vector<std::string> each;
  for (const auto& [found, hosts] : seen) each.push_back(fmt::format("{} on {}", found, some_of(hosts)));
  return Line{.finding = {.what = first.what, .found = fmt::format("{}", fmt::join(each, "; ")), .mend = first.if_they_differ, .health = Health::note}};
}

/// The table: for each thing looked at, ranks that found the same health and remedy share a line.
std::vector<Line> merge(const std::vector<Report>& reports) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<const Report*>> by_what;
  for (const auto& report : reports) {
    auto& list = by_what[report.finding.what];
    if (list.empty()) order.push_back(report.finding.what);
    list.push_back(&report);
  }
  std::vector<Line> table;
  for (const auto& what : order) {
    const auto& all = by_what[what];
    if (auto line = difference(all)) {
      table.push_back(std::move(*line));
      continue;
    }
    std::set<std::string> asked;
    std::vector<Line> lines;
    for (const auto* report : all) {
      asked.insert(report->host);
      const auto same = [&](const Line& line) { return line.finding.health == report->finding.health && line.finding.mend == report->finding.mend; };
      auto line = std::find_if(lines.begin(), lines.end(), same);
      if (line == lines.end()) line = lines.insert(lines.end(), {.finding = report->finding, .hosts = {report->host}, .least = report->host});
      else add_to(*line, *report);
    }
    for (auto& line : lines) line.all = line.hosts == asked;
    std::move(lines.begin(), lines.end(), std::back_inserter(table));
  }
  return table;
}

std::string count_of(int64_t count, const char* noun) { return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s"); }

/// "8 ranks on 2 hosts: n1 (4), n2 (4)".
Finding describe_job(comm::World& world) {
  std::map<std::string, int64_t> ranks;
  for (const auto& host : world.gather(world.host(), "gathering the hosts")) ++ranks[host];
  std::vector<std::string> each;
  for (const auto& [host, count] : ranks) {
    if (each.size() == 8) {
      each.push_back(fmt::format("{} more", ranks.size() - 8));
      break;
    }
    each.push_back(fmt::format("{} ({})", host, count));
  }
  const auto hosts = count_of(static_cast<int64_t>(ranks.size()), "host");
  return {.what = "job", .found = fmt::format("{} on {}: {}", count_of(world.size(), "rank"), hosts, fmt::join(each, ", "))};
}

Findings look(comm::World& world, const std::filesystem::path& folder) {
  Findings findings;
  const auto job = describe_job(world);
  if (world.is_root()) findings.push_back(job);
  const auto add = [&](Findings more) { std::move(more.begin(), more.end(), std::back_inserter(findings)); };
  add(look_at_host(world));
  add(look_at_cores(world));
  add(look_at_speed(world));
  add(look_at_messages(world));
  add(look_at_folder(world, folder));
  return findings;
}

core::ExitCode print(const std::vector<Line>& table, const std::string& json) {
  constexpr const char* marks[] = {"ok", "note", "BAD"};
  boost::json::array figures;
  bool bad = false;
  for (const auto& line : table) {
    const auto& finding = line.finding;
    const char* mark = marks[static_cast<int>(finding.health)];
    std::string whose;
    if (!line.all) whose = fmt::format(" [on {}]", some_of(line.hosts));
    else if (line.differ && line.hosts.size() > 1) whose = fmt::format(" (worst of {} hosts, on {})", line.hosts.size(), line.least);
    fmt::print("{:<5} {:<14} {}{}\n", mark, finding.what, finding.found, whose);
    if (!finding.mend.empty()) fmt::print("{:<20} -> {}\n", "", finding.mend);
    boost::json::array hosts;
    if (!line.all)
      for (const auto& host : line.hosts) hosts.push_back(boost::json::string(host));
    boost::json::object item{{"what", finding.what}, {"state", mark}, {"found", finding.found}, {"mend", finding.mend}, {"hosts", std::move(hosts)}};
    if (!finding.figures.empty()) item["figures"] = finding.figures;
    figures.push_back(std::move(item));
    bad |= finding.health == Health::bad;
  }
  if (!json.empty()) io::write_json(json, figures);
  return bad ? core::ExitCode::io : core::ExitCode::done;
}

}  // namespace

void worsen(Finding& finding, Health health, const std::string& mend) {
  finding.health = std::max(finding.health, health);
  finding.mend += (finding.mend.empty() ? "" : "; ") + mend;
}

Finding attempt(const std::string& what, const std::string& mend, const std::function<Finding()>& work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return {.what = what, .found = error.what(), .mend = mend, .health = Health::bad};
  }
}

int examine(const std::string& folder, const std::string& json) {
  comm::World world(comm::CommConfig{});
  try {
    const auto table = merge(gather(world, look(world, folder)));
    auto code = core::ExitCode::done;
    world.root_only("printing the findings", [&] { code = print(table, json); });
    return static_cast<int>(world.finish(code));
  } catch (const core::Error& error) {
    world.fail(error.code(), error.what());
  } catch (const std::exception& error) {
    world.fail(core::ExitCode::bug, fmt::format("unexpected: {}. This is a bug in syncdr; please report it with this text.", error.what()));
  }
}

}  // namespace syncdr::doctor
