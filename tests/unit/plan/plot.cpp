#include "plot.h"

#include <gtest/gtest.h>

#include <limits>

namespace syncdr::plan {
namespace {

std::vector<PlanPoint> some_points() {
  TranslatePlan plan;
  plan.images = 100000;
  plan.seconds_per_image = 0.3;
  std::vector<PlanPoint> points;
  for (int64_t ranks = 1; ranks <= 1024; ranks *= 2) points.push_back(plan_translate(plan, ranks));
  return points;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(PlanPlot, HasAMarkForEachPointInBothDiagrams) {
  const auto svg = plan_plot("a plan", some_points());
  EXPECT_EQ(count_of(svg, "<circle"), 22u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(PlanPlot, NeedsNothingElseAndEscapesItsTitle) {
  const auto svg = plan_plot("<script>&", some_points());
  EXPECT_NE(svg.find("&lt;script&gt;&amp;"), std::string::npos);
  for (const char* outside : {"href", "url(", "<script", "@import"}) EXPECT_EQ(svg.find(outside), std::string::npos) << outside;
}

TEST(PlanPlot, LeavesOutWhatNeverEndsAndDrawsASinglePoint) {
  auto points = some_points();
  points.resize(2);
  points[1].seconds = points[1].held = std::numeric_limits<double>::infinity();
  const auto svg = plan_plot("a plan", points);
  EXPECT_EQ(count_of(svg, "<circle"), 2u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  points.erase(points.begin());
  EXPECT_NE(plan_plot("a plan", points).find("no number of ranks ends"), std::string::npos);
}

TEST(PlanPlot, TimesAreTextOfThreeDigits) {
  EXPECT_EQ(duration_text(0.5), "0.50 s");
  EXPECT_EQ(duration_text(95.4), "95.4 s");
  EXPECT_EQ(duration_text(3600), "60.0 min");
  EXPECT_EQ(duration_text(45 * 3600.0), "45.0 h");
  EXPECT_EQ(duration_text(200 * 86400.0), "200 d");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "never");
}

}  // namespace
}  // namespace syncdr::plan
