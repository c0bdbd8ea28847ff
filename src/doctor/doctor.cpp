#include "syncdr/doctor/doctor.h"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "findings.h"
#include "syncdr/core/some_of.h"
#include "syncdr/io/json.h"

namespace syncdr::doctor {
namespace {

/// A finding and whose it is.
struct Report {
  Finding finding;
  std::string host;
};

boost::json::object to_json(const Finding& finding) {
  return {{"what", finding.what},      {"found", finding.found},
          {"mend", finding.mend},      {"health", static_cast<int>(finding.health)},
          {"margin", finding.margin},  {"if_they_differ", finding.if_they_differ},
          {"figures", finding.figures}};
}

Finding from_json(const boost::json::object& object) {
  const char* where = "findings of a rank";
  return {.what = io::json_string(object, "what", where),
          .found = io::json_string(object, "found", where),
          .mend = io::json_string(object, "mend", where),
          .health = static_cast<Health>(io::json_int(object, "health", where)),
          .margin = io::json_double(object, "margin", where),
          .if_they_differ = io::json_string(object, "if_they_differ", where),
          .figures = io::json_object(object, "figures", where)};
}

/// Every rank's findings, on every rank.
std::vector<Report> gather(comm::World& world, const Findings& own) {
  boost::json::array array;
  for (const auto& finding : own) array.push_back(to_json(finding));
  const auto texts = world.gather(io::pretty_json(array), "gathering the findings");
  std::vector<Report> reports;
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    const auto document = io::parse_json(texts[rank], "findings of a rank");
    for (const auto& item : document.as_array()) reports.push_back({from_json(item.as_object()), world.hosts()[rank]});
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
  for (const auto& [found, hosts] : seen) each.push_back(fmt::format("{} on {}", found, core::some_of(hosts)));
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

/// "8 ranks on 2 hosts: n1 (4), n2 (4)".
Finding describe_job(const comm::World& world) {
  std::map<std::string, int64_t> ranks;
  for (const auto& host : world.hosts()) ++ranks[host];
  std::vector<std::string> each;
  for (const auto& [host, count] : ranks) each.push_back(fmt::format("{} ({})", host, count));
  const auto hosts = count_of(static_cast<int64_t>(ranks.size()), "host");
  return {.what = "job", .found = fmt::format("{} on {}: {}", count_of(world.size(), "rank"), hosts, core::some_of(each, 8))};
}

Findings look(comm::World& world, const std::filesystem::path& folder) {
  Findings findings;
  if (world.is_root()) findings.push_back(describe_job(world));
  for (const auto& more : {look_at_host(world), look_at_cores(world), look_at_speed(world), look_at_messages(world), look_at_folder(world, folder)})
    findings.insert(findings.end(), more.begin(), more.end());
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
    if (!line.all) whose = fmt::format(" [on {}]", core::some_of(line.hosts));
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

int examine(const std::string& folder, const std::string& json) {
  return comm::run_job({}, [&](comm::World& world) {
    const auto table = merge(gather(world, look(world, folder)));
    auto code = core::ExitCode::done;
    world.root_only("printing the findings", [&] { code = print(table, json); });
    return code;
  });
}

}  // namespace syncdr::doctor
