#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <limits>
#include <sstream>

#include "arms.h"
#include "fabricated_arms.h"
#include "html.h"
#include "html_checks.h"
#include "page.h"
#include "svg.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::evaluation {
namespace {

using testing::HasSubstr;
using testing::Not;

using test::count;
using test::unbalanced;
using test::without_images;

class Report : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    flowers_ = std::make_unique<test::FlowerDataset>();
    flowers_->write("report");
    input_ = std::make_unique<ReportInput>(test::fabricated_input(*flowers_));
    page_ = std::make_unique<std::string>(write(*input_));
  }
  static void TearDownTestSuite() {
    page_.reset();
    input_.reset();
    flowers_.reset();
  }
  static std::string write(const ReportInput& input) {
    const auto file = flowers_->root / "report.html";
    write_report(file, data::Dataset(flowers_->root), input);
    return io::read_file(file);
  }
  static inline std::unique_ptr<test::FlowerDataset> flowers_;
  static inline std::unique_ptr<ReportInput> input_;
  static inline std::unique_ptr<std::string> page_;
};

TEST_F(Report, IsWellFormedAndEscapesWhatItIsGiven) {
  const auto page = without_images(*page_);
  EXPECT_EQ(unbalanced(page), "");
  EXPECT_THAT(page, HasSubstr("<h1>Flowers &lt;&amp;&gt; &quot;quoted&quot;</h1>"));
  EXPECT_THAT(page, HasSubstr("# &lt;not html&gt;"));
  EXPECT_THAT(page, HasSubstr("&lt;b&gt;&amp;&quot;"));  // in a key
  EXPECT_THAT(page, Not(HasSubstr("<not html>")));
}

TEST_F(Report, EscapesHowAnEpochWasChosenAndWhatCollapsed) {
  ReportInput input = *input_;
  input.arms[0].evaluation.collapsed = {"<ink>"};
  input.arms[1].selected_by = "<mutual>";
  const auto page = write(input);
  EXPECT_THAT(page, HasSubstr("the features of &lt;ink&gt; are"));
  EXPECT_THAT(page, HasSubstr("chosen by &lt;mutual&gt;"));
}

TEST_F(Report, NeedsNoScriptAndNoOtherFile) {
  EXPECT_THAT(*page_, Not(HasSubstr("<script")));
  EXPECT_THAT(*page_, Not(HasSubstr("url(")));
  EXPECT_THAT(*page_, Not(HasSubstr("<link")));
  EXPECT_EQ(count(*page_, "<img "), count(*page_, "<img src=\"data:image/png;base64,"));
  EXPECT_EQ(count(*page_, "<img "), count(*page_, " alt=\""));
  EXPECT_EQ(count(*page_, " alt=\"\""), 0);
}

TEST_F(Report, ShowsThirtyPairsOfEachTranslatedSetAndDirection) { EXPECT_EQ(count(*page_, "alt=\"its translation\""), 2 * 30) << "two arms share a set"; }

TEST_F(Report, LeavesQuarantinedTranslationsOut) {
  for (const int64_t row : {6, 13, 20, 27, 34})
    for (const std::string domain : {"colour", "ink"})
      EXPECT_THAT(*page_, Not(HasSubstr("alt=\"source: " + escape(test::FlowerDataset::key(domain, "train", row)) + "\""))) << row;
}

TEST_F(Report, MarksNeighboursRightOrWrongByTheirCategory) {
  int64_t right = 0;
  for (const auto& arm : {input_->arms[0], input_->arms[1]})
    for (const auto& direction : arm.evaluation.directions) {
      const auto found = direction.nearest.accessor<int64_t, 2>();
      for (const int64_t query : spread_rows(direction.queries, 8))
        for (int64_t i = 0; i < 8; ++i) right += flowers_->label(found[query][i]) == flowers_->label(query);
    }
  EXPECT_EQ(count(*page_, "<li class=\"right\">"), right);
  EXPECT_EQ(count(*page_, "<li class=\"wrong\">"), 2 * 2 * 8 * 8 - right);
  EXPECT_GT(right, 0);
}

TEST_F(Report, MarksTheBestOfEachColumnButNeverACeiling) {
  EXPECT_EQ(count(*page_, "best\"><span>"), 9);
  const auto best = input_->arms[1].evaluation.mean.at(1);
  EXPECT_THAT(*page_, HasSubstr(fmt::format("<td class=\"first best\"><span>{:.1f}</span>", 100 * best.value)));
  EXPECT_GT(input_->arms[2].evaluation.mean.at(1).value, best.value) << "the ceiling would have won";
}

TEST_F(Report, DrawsACurveForEachArmAndNamesTheProtocol) {
  const auto training = page_->substr(page_->find(">Training</h2>"));
  EXPECT_THAT(training, HasSubstr("<figcaption>loss</figcaption>"));
  EXPECT_THAT(training, HasSubstr("<figcaption>validation: mean Prec@1 of both directions, %</figcaption>"));
  EXPECT_THAT(training, HasSubstr("<figcaption>CUT, colour to ink</figcaption>"));
  EXPECT_THAT(training, Not(HasSubstr("images_per_second")));
  EXPECT_THAT(*page_, HasSubstr("equal scores share their places), split test, 24 + 24 queries, 95 % bootstrap over queries: 12 categories are too few"));
}

TEST_F(Report, IsTheSameEachTime) { EXPECT_EQ(write(*input_), *page_); }

TEST_F(Report, AMissingLogCostsOnlyItsCurve) {
  ReportInput input = *input_;
  for (auto& arm : input.arms) arm.log = flowers_->root / "nowhere.jsonl";
  input.curves.clear();
  EXPECT_THAT(write(input), Not(HasSubstr(">Training</h2>")));
}

TEST_F(Report, ABaselineAloneMakesAPage) {
  ReportInput input = *input_;
  input.arms.resize(1);
  const auto page = write(input);
  EXPECT_EQ(unbalanced(without_images(page)), "");
  EXPECT_THAT(page, Not(HasSubstr(">Pairs</h2>")));
  EXPECT_THAT(page, HasSubstr(">Retrieval</h2>"));
}

TEST_F(Report, AMissingTranslationIsBadData) {
  ReportInput input = *input_;
  input.arms[1].sets = {"cut", "never-made"};
  EXPECT_THROW(write(input), core::DataError);
}

TEST_F(Report, TableTextIsAlignedAndMarksTheBest) {
  const auto text = table_text(*input_);
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  ASSERT_GE(lines.size(), 2 + 3 + 1u);
  // Figures end in the same column: a closing bracket under another (each row has nine en dashes of three bytes).
  EXPECT_EQ(lines[2].size(), lines[3].size());
  EXPECT_EQ(lines[3].size(), lines[4].size());
  EXPECT_EQ(count(text, "*"), 9 + 1);
  EXPECT_EQ(count(lines[4], "*"), 0) << "the ceiling is marked";
  EXPECT_THAT(lines[3], HasSubstr(fmt::format("*{:.1f} [", 100 * input_->arms[1].evaluation.mean.at(1).value)));
}

TEST_F(Report, MetricsJsonHasTheArmsUnderTheirRoles) {
  const auto json = metrics_json(*input_, "cds", "cut");
  const auto& mean = input_->arms[1].evaluation.mean.at(5);
  const auto& figure = json.at("syncdr").at("prec@5");
  EXPECT_DOUBLE_EQ(figure.at("mean").as_double(), mean.value);
  EXPECT_DOUBLE_EQ(figure.at("mean_interval").at(0).as_double(), mean.low);
  EXPECT_DOUBLE_EQ(figure.at("a_to_b").as_double(), input_->arms[1].evaluation.directions[0].figures.at(5).value);
  EXPECT_DOUBLE_EQ(figure.at("b_to_a_interval").at(1).as_double(), input_->arms[1].evaluation.directions[1].figures.at(5).high);
  EXPECT_DOUBLE_EQ(json.at("cds").at("prec@1").at("b_to_a").as_double(), input_->arms[0].evaluation.directions[1].figures.at(1).value);
  EXPECT_EQ(json.at("controls").as_object().size(), 1u);
  EXPECT_EQ(json.at("controls").at("true").at("best_epoch").as_int64(), 15);
  EXPECT_EQ(json.at("syncdr").at("queries").at("a_to_b").as_int64(), 24);
  EXPECT_EQ(json.at("settings").at("split").as_string(), "test");
  EXPECT_DOUBLE_EQ(json.at("cds").at("map").at("mean").as_double(), input_->arms[0].evaluation.mean.at({Measure::Kind::average_precision, 0}).value);
  EXPECT_DOUBLE_EQ(json.at("cds").at("recall@5").at("a_to_b_interval").at(0).as_double(),
                   input_->arms[0].evaluation.directions[0].figures.at({Measure::Kind::recall, 5}).low);
  EXPECT_EQ(json.at("cds").at("map").at("protocol").as_string(), "syncdr");
  EXPECT_EQ(json.at("domains"), (boost::json::value{{"a", "colour"}, {"b", "ink"}}));
  EXPECT_NO_THROW(io::parse_json(io::pretty_json(json), "metrics.json"));
}

TEST_F(Report, FurtherFiguresStandInATableOfTheirOwn) {
  const auto text = table_text(*input_);
  EXPECT_EQ(columns_of(*input_).size(), 9u) << "Prec@50 is no column of the headline table";
  EXPECT_THAT(text, HasSubstr("%, mean of both"));
  EXPECT_THAT(text, HasSubstr("Prec@50"));
  EXPECT_THAT(text, HasSubstr("SynCDR protocol as above. Recall@k: queries with a right image among the first k"));
  const auto further = page_->substr(page_->find("<summary>Further figures</summary>"));
  EXPECT_THAT(further, HasSubstr("<th scope=\"col\">Recall@5</th><th scope=\"col\">mAP@All</th>"));
  const auto& map = input_->arms[1].evaluation.directions[1].figures.at({Measure::Kind::average_precision, 0});
  EXPECT_THAT(further, HasSubstr(fmt::format("<td><span>{}</span><small>{}</small></td></tr>", percent(map.value), interval_text(map))));
  ReportInput input = *input_;
  for (auto& arm : input.arms) {
    arm.evaluation.cutoffs.clear();
    for (auto* figures : {&arm.evaluation.mean, &arm.evaluation.directions[0].figures, &arm.evaluation.directions[1].figures})
      std::erase_if(*figures, [](const auto& item) { return item.first.kind != Measure::Kind::precision; });
  }
  EXPECT_THAT(table_text(input), Not(HasSubstr("as above"))) << "all are in the headline table";
}

TEST_F(Report, NamesProtocolCategorySetsAndGroupsOfCategories) {
  ReportInput input = *input_;
  for (auto& arm : input.arms) {
    auto& evaluation = arm.evaluation;
    evaluation.protocol = "ucdir";
    evaluation.directions[0].category_set = "closed";
    evaluation.directions[1].category_set = "open";
    evaluation.directions[1].unanswerable = 3;
    evaluation.groups.push_back({"seen", {20, 18}, {{1, {0.5, 0.4, 0.6}}, {{Measure::Kind::average_precision, 0}, {0.25, 0.2, 0.3}}}});
    evaluation.groups.push_back({"unseen", {4, 1006}, {{1, {0.125, 0.1, 0.2}}, {{Measure::Kind::average_precision, 0}, {0.1, 0.1, 0.1}}}});
    evaluation.groups.push_back({"seen_in_both", {20, 18}, evaluation.groups[0].mean});
  }
  const auto text = table_text(input), page = write(input);
  EXPECT_THAT(text, HasSubstr("UCDIR protocol (on the training images themselves, whose labels training has not read; k at most"));
  EXPECT_THAT(text, HasSubstr("colour→ink: closed category sets, ink→colour: open category sets (3 queries without a right image in the gallery left out)"));
  EXPECT_THAT(text, HasSubstr("not seen in training  seen in both domains"));
  EXPECT_THAT(text, HasSubstr("1,010"));
  EXPECT_THAT(text, HasSubstr("12.5 [10.0–20.0]"));
  EXPECT_EQ(unbalanced(without_images(page)), "");
  EXPECT_THAT(page, HasSubstr("not seen in training<span class=\"tag\">4 + 1,006 queries</span>"));
  const auto json = metrics_json(input, "cds", "cut").at("cds");
  EXPECT_EQ(json.at("categories").at("unseen").at("queries").at("b_to_a").as_int64(), 1006);
  EXPECT_DOUBLE_EQ(json.at("categories").at("unseen").at("prec@1").at("mean_interval").at(1).as_double(), 0.2);
  EXPECT_EQ(json.at("categories").at("seen").at("map").at("protocol").as_string(), "ucdir");
  EXPECT_EQ(json.at("category_set").at("b_to_a").as_string(), "open");
  EXPECT_EQ(json.at("unanswerable").at("b_to_a").as_int64(), 3);
  EXPECT_THAT(*page_, Not(HasSubstr("seen in training"))) << "of these arms nothing is known";
}

TEST_F(Report, HitsOfAllQueriesAddUpToTheFigures) {
  const auto file = flowers_->root / "hits.json";
  write_hits(file, *input_, {{"colour", "hash"}});
  const auto json = io::read_json(file);
  EXPECT_EQ(json.at("unit").as_string(), "queries");
  EXPECT_EQ(json.at("images").at("colour").as_string(), "hash");
  EXPECT_EQ(json.at("categories").at("a_to_b").as_array().size(), 24u);
  const auto sum = [](const boost::json::value& counts) {
    double total = 0;
    for (const auto& count : counts.as_array()) total += static_cast<double>(count.as_int64());
    return total;
  };
  for (const auto& arm : input_->arms)
    for (const int64_t k : {1, 5, 15}) {
      const auto figure = fmt::format("prec@{}", k);
      EXPECT_DOUBLE_EQ(sum(json.at("correct").at(arm.title).at("b_to_a").at(figure)) / sum(json.at("possible").at("b_to_a").at(figure)),
                       arm.evaluation.directions[1].figures.at(k).value);
    }
}

TEST_F(Report, OfThreeDomainsShowsAllSixDirections) {
  test::FlowerDataset three;
  three.domains = {"colour", "ink", "chalk"};
  three.write("three");
  const ReportInput input = test::fabricated_input(three);
  const std::vector<std::string> directions{"colour-to-ink", "colour-to-chalk", "ink-to-colour", "ink-to-chalk", "chalk-to-colour", "chalk-to-ink"};
  const auto json = metrics_json(input, "cds", "cut");
  EXPECT_EQ(json.at("domains"), (boost::json::array{"colour", "ink", "chalk"}));
  std::vector<std::string> keys;
  double sum = 0;
  for (const auto& [key, value] : json.at("syncdr").at("prec@1").as_object()) {
    keys.push_back(key);
    if (keys.size() <= 6) sum += value.as_double();
  }
  EXPECT_THAT(std::vector<std::string>(keys.begin(), keys.begin() + 6), testing::ElementsAreArray(directions));
  EXPECT_THAT(keys, testing::Contains("chalk-to-ink_interval"));
  EXPECT_NEAR(json.at("syncdr").at("prec@1").at("mean").as_double(), sum / 6, 1e-12);
  EXPECT_THAT(table_text(input), testing::AllOf(HasSubstr("chalk→ink"), HasSubstr("24 + 24 + 24 queries")));
  write_report(three.root / "report.html", data::Dataset(three.root), input);
  const auto page = io::read_file(three.root / "report.html");
  EXPECT_EQ(unbalanced(without_images(page)), "");
  EXPECT_EQ(count(page, "alt=\"its translation\""), 6 * 26) << "fewer of each, or the page would grow with the number of domains";
  EXPECT_EQ(count(page, "<h3>ink → chalk</h3>"), 1);
  EXPECT_THAT(page, testing::AllOf(HasSubstr("Mean of all"), HasSubstr("colour ↔ ink ↔ chalk, 24 and 24 and 24 test images")));
}

/// The fabricated arms with an untrained one, compared.
ReportInput compared(const ReportInput& fabricated, const test::FlowerDataset& flowers) {
  ReportInput input = fabricated;
  input.arms.insert(input.arms.begin(), {"untrained", "the encoder as it was downloaded", {}, test::fabricated_evaluation(flowers, 1.5, 4)});
  input.baseline = "cds";
  compare_arms(input, 1, 300);
  return input;
}

TEST_F(Report, ComparesEachArmWithTheBaselineAndTheUntrainedEncoder) {
  const auto json = metrics_json(compared(*input_, *flowers_), "cds", "cut");
  const auto& arm = json.at("syncdr").as_object();
  for (const std::string reference : {"cds", "untrained"}) {
    const auto& other = reference == "cds" ? json.at("cds").as_object() : json.at("controls").at("untrained").as_object();
    const auto& difference = arm.at("vs_" + reference);
    EXPECT_EQ(difference.at("unit").as_string(), "queries");
    for (const std::string k : {"prec@1", "prec@5", "prec@15"})
      for (const std::string figure : {"mean", "a_to_b", "b_to_a"}) {
        const double value = difference.at(k).at(figure).as_double();
        EXPECT_NEAR(value, arm.at(k).at(figure).as_double() - other.at(k).at(figure).as_double(), 1e-12);
        EXPECT_LE(difference.at(k).at(figure + "_interval").at(0).as_double(), value);
        EXPECT_GE(difference.at(k).at(figure + "_interval").at(1).as_double(), value);
      }
  }
  EXPECT_FALSE(json.at("cds").as_object().contains("vs_cds"));
  EXPECT_TRUE(json.at("cds").as_object().contains("vs_untrained"));
  EXPECT_FALSE(json.at("controls").at("untrained").as_object().contains("vs_untrained"));
}

TEST_F(Report, TableTextHasDifferencesBelow) {
  const auto input = compared(*input_, *flowers_);
  const auto text = table_text(input);
  EXPECT_THAT(text, HasSubstr("\nless CDS, real images alone "));
  EXPECT_THAT(text, HasSubstr("\nless the encoder as it was downloaded "));
  const auto& gain = input.arms[2].differences.front().figures.mean.at(1);
  EXPECT_GT(gain.low, 0) << "a much better encoder";
  EXPECT_THAT(text, HasSubstr(fmt::format("*{:+.1f} [{:.1f} to {:.1f}]", 100 * gain.value, 100 * gain.low, 100 * gain.high)));
  EXPECT_THAT(text, HasSubstr("draw queries for both arms at once"));
}

TEST_F(Report, ShowsDifferencesInATableOfTheirOwn) {
  const auto input = compared(*input_, *flowers_);
  const auto page = write(input);
  EXPECT_EQ(unbalanced(without_images(page)), "");
  EXPECT_THAT(page, HasSubstr("<span class=\"muted\">less CDS, real images alone</span>"));
  EXPECT_THAT(page, HasSubstr("On the same queries that is +"));
  const auto& gain = input.arms[2].differences.front().figures.mean.at(1);
  EXPECT_THAT(page, HasSubstr(fmt::format("<td class=\"first certain\"><span>{:+.1f}</span>", 100 * gain.value)));
  EXPECT_THAT(*page_, Not(HasSubstr("Differences</h3>"))) << "nothing was compared";
}

TEST_F(Report, ShowsRetentionOfEachSetOnce) {
  ReportInput input = *input_;
  for (auto* arm : {&input.arms[1], &input.arms[2]}) arm->retention.push_back({"cut<1>", "colour", "ink", {0.5, 0.625, 0.25, 0.375, 1234}});
  const auto page = write(input), text = table_text(input);
  EXPECT_EQ(unbalanced(without_images(page)), "");
  EXPECT_EQ(count(page, "cut&lt;1&gt;"), 1);
  EXPECT_THAT(page, HasSubstr("<td>1,234</td><td>50.0</td><td>62.5</td><td>25.0</td><td>37.5</td>"));
  EXPECT_EQ(count(text, "colour→ink  1,234"), 1) << text;
  EXPECT_DOUBLE_EQ(metrics_json(input, "cds", "cut").at("syncdr").at("retention").at(0).at("translation_at_1").as_double(), 0.25);
  EXPECT_THAT(*page_, Not(HasSubstr("Retention</h2>"))) << "it was not measured";
}

TEST_F(Report, SaysWhatEpochsWereChosenByAndWhatTheOtherChoiceReaches) {
  ReportInput input = *input_;
  input.arms[1].other = {"mutual", 9, {{1, {0.25, 0.25, 0.25}}, {5, {0.5, 0.5, 0.5}}, {15, {0.75, 0.75, 0.75}}}};
  input.arms[0].selected_by = "mutual";
  input.arms[0].validation_score = std::numeric_limits<double>::quiet_NaN();
  const auto page = write(input);
  EXPECT_THAT(page, HasSubstr("validation 12.0 % at epoch 14; by mutual epoch 9: mean 25.0"));
  EXPECT_THAT(page, HasSubstr("epoch 11, chosen by mutual<"));
  const auto json = metrics_json(input, "cds", "cut");
  EXPECT_DOUBLE_EQ(json.at("syncdr").at("other_choice").at("prec@5").as_double(), 0.5);
  EXPECT_EQ(json.at("syncdr").at("selected_by").as_string(), "labels");
  EXPECT_TRUE(json.at("cds").at("validation").is_null());
  EXPECT_NO_THROW(io::parse_json(io::pretty_json(json), "metrics.json"));
}

TEST_F(Report, ManyCategoriesAreDrawnThemselves) {
  ReportInput input = *input_;
  for (auto& arm : input.arms) arm.evaluation.categories = 1140;
  EXPECT_THAT(table_text(input), HasSubstr("95 % bootstrap over 1,140 categories"));
}

TEST(Html, EscapesMarkupAndDropsControlCharacters) { EXPECT_EQ(escape("<a href=\"x\">'&\x01\x7f\n"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\x7f\n"); }

TEST(Html, Base64FollowsTheTestVectorsOfRfc4648) {
  const std::vector<std::pair<std::string, std::string>> vectors{
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) EXPECT_EQ(base64({reinterpret_cast<const uint8_t*>(plain.data()), plain.size()}), encoded);
}

TEST(RoundTicks, SpanTheirRangeWithFourToEightRoundNumbers) {
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{{0, 1}, {0, 0.113}, {2.1, 9.7}, {-3, 4}, {1e-5, 3e-5}, {12000, 98000}}) {
    const auto ticks = round_ticks(low, high);
    EXPECT_LE(ticks.front(), low + 1e-12);
    EXPECT_GE(ticks.back(), high - 1e-12);
    EXPECT_THAT(ticks.size(), testing::AllOf(testing::Ge(4u), testing::Le(8u))) << low << " " << high;
  }
  EXPECT_GE(round_ticks(3, 3).size(), 3u) << "a constant figure";
}

TEST(LinePlot, ThinsALongLogToMeansThatKeepItsLevel) {
  Series series{"loss", {}};
  for (int i = 0; i < 96000; ++i) series.points.emplace_back(i, i % 2 ? 1.0 : 3.0);
  const auto svg = line_plot({"loss", "step", {series}});
  static const std::regex point("[ML][0-9.]+ ([0-9.]+)");
  const auto path = svg.find("<path");
  const std::string line = svg.substr(path, svg.find("/>", path) - path);
  std::set<std::string> heights;
  int64_t points = 0;
  for (auto it = std::sregex_iterator(line.begin(), line.end(), point); it != std::sregex_iterator(); ++it, ++points) heights.insert((*it)[1]);
  EXPECT_EQ(points, 160);
  EXPECT_EQ(heights.size(), 1u) << "each stretch has mean 2";
}

TEST(LinePlot, OnePointMakesAPlot) {
  const auto svg = line_plot({"loss", "step", {{"loss", {{5, 2}}}}});
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(SpreadRows, AreDistinctAscendingAndDoNotFallInStepWithRepeatedCategories) {
  for (const int64_t size : {1, 7, 8, 9, 100, 2280}) {
    const auto rows = spread_rows(size, 8);
    EXPECT_EQ(rows.size(), static_cast<size_t>(std::min<int64_t>(size, 8)));
    EXPECT_TRUE(std::adjacent_find(rows.begin(), rows.end(), std::greater_equal<>()) == rows.end()) << size;
    EXPECT_GE(rows.front(), 0);
    EXPECT_LT(rows.back(), size);
  }
  std::set<int64_t> categories;
  for (const int64_t row : spread_rows(80, 8)) categories.insert(row % 40);
  EXPECT_EQ(categories.size(), 8u);
  EXPECT_TRUE(spread_rows(0, 8).empty());
}

TEST(ImageTag, ShrinksLargeImagesAndKeepsSmallOnes) {
  const data::Image small{64, 48, std::vector<uint8_t>(64 * 48 * 3, 90)}, large{300, 200, std::vector<uint8_t>(300 * 200 * 3, 90)};
  EXPECT_THAT(image_tag(small, "x"), testing::AllOf(HasSubstr("data:image/png"), HasSubstr("width=\"48\" height=\"64\"")));
  EXPECT_THAT(image_tag(large, "x"), testing::AllOf(HasSubstr("data:image/jpeg"), HasSubstr("width=\"96\" height=\"96\"")));
}

}  // namespace
}  // namespace syncdr::evaluation
