#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ops/zeros.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "fabricated_arms.h"
#include "html.h"
#include "html_checks.h"
#include "page.h"
#include "support/temporary_folder.h"
#include "syncdr/evaluation/comparison.h"
#include "syncdr/io/atomic_file.h"
#include "syncdr/io/json.h"

namespace syncdr::evaluation {
namespace {

using test::count;
using testing::HasSubstr;
using testing::Not;

class Sections : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    flowers_ = std::make_unique<test::FlowerDataset>();
    flowers_->write("sections");
    input_ = std::make_unique<ReportInput>(test::fabricated_input(*flowers_));
  }
  static void TearDownTestSuite() {
    input_.reset();
    flowers_.reset();
  }
  static data::Dataset dataset() { return data::Dataset(flowers_->root); }
  static inline std::unique_ptr<test::FlowerDataset> flowers_;
  static inline std::unique_ptr<ReportInput> input_;
};

TEST_F(Sections, ConfusionOfAFewCategoriesIsAMatrixWhoseRowsAddUpToAllQueries) {
  const auto html = confusion_section(dataset(), *input_);
  EXPECT_EQ(test::unbalanced(html), "");
  EXPECT_EQ(count(html, "<table class=\"matrix\">"), 2);
  EXPECT_THAT(html, HasSubstr("category 11<span class=\"tag\">2 queries</span>")) << "the set names no categories";
  // Two queries a category: a cell holds 50 or 100, each of 24 rows sums to 100.
  EXPECT_EQ(50 * count(html, ">50</td>") + 100 * count(html, ">100</td>"), 100 * 24);
  const auto& right = input_->arms[1].evaluation;
  const double sum = right.directions[0].figures.at(1).value + right.directions[1].figures.at(1).value;
  int64_t found = 0;
  for (const auto& [share, text] : {std::pair{1, "--share:30%\">50</td>"}, std::pair{2, "--share:60%\">100</td>"}})
    found += share * count(html, std::string("<td class=\"right\" style=\"") + text);
  EXPECT_DOUBLE_EQ(static_cast<double>(found), sum * 24) << "the diagonal is Prec@1";
}

TEST_F(Sections, ConfusionOfManyCategoriesIsAListAndUsesTheirNames) {
  test::FlowerDataset many;
  many.categories = 345;
  many.renders = 1;
  many.train = 4;
  many.side = 8;
  many.write("many");
  auto manifest = data::Manifest::read(many.root / "dataset.json");
  boost::json::array names;
  for (int64_t i = 0; i < many.categories; ++i) names.emplace_back(fmt::format("kind <{}>", i));
  manifest.settings["categories"] = boost::json::serialize(names);
  manifest.write(many.root / "dataset.json");
  ReportInput input{.split = "test", .domains = many.domains};
  input.arms.push_back({"cds", "CDS", {}, test::fabricated_evaluation(many, 1.0, 1)});
  const auto html = confusion_section(data::Dataset(many.root), input);
  EXPECT_EQ(test::unbalanced(html), "");
  EXPECT_EQ(count(html, "<table class=\"matrix\">"), 0);
  EXPECT_EQ(count(html, "<caption>Most frequent confusions</caption>"), 2);
  EXPECT_EQ(count(html, "<caption>Categories found worst</caption>"), 0) << "one query of each tells nothing";
  EXPECT_THAT(html, HasSubstr("Of 345 categories, "));
  EXPECT_THAT(html, HasSubstr("kind &lt;"));
  EXPECT_LT(html.size(), 20'000u);
}

TEST_F(Sections, PairsKeptBestAndWorstAreThoseOfTheRanksAndNeverQuarantined) {
  ReportInput input = *input_;
  PairRanks ranks{at::zeros({40, 1}, at::kLong), at::zeros({40, 1}, at::kLong)};
  for (int64_t row = 0; row < 40; ++row)
    if (row % 7 != 6) ranks.source[row][0] = ranks.translation[row][0] = 1 + (row * 11) % 40;  // row 0 is first, row 29 is last
  for (const auto& domain : flowers_->domains) input.pair_ranks[{"cut", domain, domain == "ink" ? "colour" : "ink"}] = ranks;
  const auto html = pairs_section(dataset(), input);
  EXPECT_EQ(test::unbalanced(test::without_images(html)), "");
  EXPECT_EQ(count(html, "alt=\"its translation\""), 2 * 30);
  const auto first = html.find(">kept best<"), spread = html.find(">evenly spread<"), worst = html.find(">kept worst<"), next = html.find(">kept best<", worst);
  ASSERT_TRUE(first < spread && spread < worst && worst < next);
  const auto key = [&](int64_t row) { return "alt=\"source: " + escape(test::FlowerDataset::key("colour", "train", row)) + "\""; };
  EXPECT_THAT(html.substr(first, spread - first), HasSubstr(key(0)));
  EXPECT_THAT(html.substr(worst, next - worst), HasSubstr(key(29)));
  EXPECT_THAT(html, HasSubstr("<small>40 / 40</small>"));
  const auto lists = extremes_of(ranks, dataset().real("colour", "train"), dataset().synthetic("colour", "ink", "cut"), 100);
  EXPECT_EQ(lists.best.size(), 17u) << "half of the 35 that are not quarantined, so that none is in both";
  EXPECT_EQ(lists.worst.size(), 17u);
}

TEST_F(Sections, QuarantinedImagesAndTranslationsStandWithTheirReasons) {
  const auto alone = quarantine_section(dataset(), *input_);
  EXPECT_THAT(alone, HasSubstr("10 images or translations are quarantined"));
  EXPECT_EQ(count(alone, "the translation was blank, or not finite"), 10);
  io::write_file(flowers_->root / "quarantine.json", R"([{"file": "/a/b.jpg", "key": "x/<b>.jpg", "split": "train", "reason": "ends after 3 bytes"}])");
  const auto html = quarantine_section(dataset(), *input_);
  std::filesystem::remove(flowers_->root / "quarantine.json");
  EXPECT_EQ(test::unbalanced(html), "");
  EXPECT_THAT(html, HasSubstr("x/&lt;b&gt;.jpg</th><td class=\"text\">packing, train</td><td class=\"text\">ends after 3 bytes"));
  ReportInput none = *input_;
  for (auto& arm : none.arms) arm.sets.clear();
  EXPECT_THAT(quarantine_section(dataset(), none), HasSubstr("No image and no translation"));
}

TEST_F(Sections, CostsAreSumsOfCallsAndSettingsThatWereChangedAreMarked) {
  ReportInput input = *input_;
  EXPECT_EQ(calls_section(input), "");
  PhaseCall call{.phase = "train", .subject = "cut", .ended = "2026-01-02T03:04:05Z", .seconds = 1800, .images = 9000, .ranks = 2, .threads = 8, .gpus = 2};
  call.hosts = {"one"};
  call.processor = "Processor <X>";
  call.gpu = "H200";
  call.versions = {{"syncdr", "0.1.0"}, {"commit", "abc"}};
  input.calls = {call, call};
  input.calls[1].ended = "2026-01-02T04:04:05Z";
  const auto html = calls_section(input);
  EXPECT_EQ(test::unbalanced(html), "");
  EXPECT_THAT(html, HasSubstr("train cut<span class=\"tag\">2 calls</span></th><td>60 min</td><td>18,000</td><td>5</td><td>8</td><td>2</td>"));
  EXPECT_THAT(html, HasSubstr("2 ranks on 1 host, 8 compute threads of Processor &lt;X&gt;, 2 GPUs (H200)"));
  EXPECT_THAT(html, HasSubstr("commit abc, syncdr 0.1.0"));
  EXPECT_THAT(html, HasSubstr("2026-01-02T04:04:05Z"));

  for (const auto& [value, text] : {std::pair{0.0, "0"}, std::pair{0.001, "&lt; 0.01"}, std::pair{5.254, "5.25"}, std::pair{1234.4, "1,234"}})
    EXPECT_EQ(short_number(value), text);
  for (const auto& [seconds, text] : {std::pair{95.24, "95.2 s"}, std::pair{720.0, "12 min"}, std::pair{11100.0, "3 h 05 min"}})
    EXPECT_EQ(duration_text(seconds), text);

  input.seed = 7;
  input.settings = {{"seed", "0", "0"}, {"train.epochs", "15 # <not html>", "24"}};
  const auto repeat = configuration_section(input);
  EXPECT_EQ(test::unbalanced(repeat), "");
  EXPECT_EQ(count(repeat, "<mark>"), 1);
  EXPECT_THAT(repeat, HasSubstr("<mark>epochs = 15 # &lt;not html&gt;</mark>"));
  EXPECT_THAT(repeat, HasSubstr("<code>train.epochs</code></th><td class=\"text\"><code>15 # &lt;not html&gt;</code></td><td class=\"text\"><code>24</code>"));
  EXPECT_THAT(repeat, HasSubstr("The seed was 7. Test images were used"));
}

TEST_F(Sections, CurvesSayByWhatTheKeptEpochsWereChosen) {
  ReportInput input = *input_;
  const std::string labels = "the epoch is kept that has the best Prec@1 on validation images", mutual = "has the most mutual neighbours";
  const auto said = [&](const std::vector<std::string>& by) {
    for (size_t i = 0; i < by.size(); ++i) input.arms[i].selected_by = by[i];
    return curves_section(input);
  };
  EXPECT_THAT(said({"labels", "labels", "labels"}), HasSubstr(labels + ".</p>"));
  EXPECT_THAT(said({"labels", "labels", "mutual"}), testing::AllOf(HasSubstr(labels + ", or " + mutual), HasSubstr("labels were not read.</p>")));
  EXPECT_THAT(said({"uniformity", "uniformity", "uniformity"}), HasSubstr("the epoch is kept that spreads validation images most evenly"));
  EXPECT_THAT(said({"last", "last", "last"}), HasSubstr("the epoch is kept that is the last: nothing was validated.</p>"));
  for (auto& arm : input.arms) arm.best_epoch = 0;
  EXPECT_THAT(curves_section(input), Not(HasSubstr("epoch is kept")));
}

TEST_F(Sections, MapsDrawEachPointOfEachGroupOnce) {
  ReportInput input = *input_;
  EXPECT_EQ(maps_section(input), "");
  FeatureMap map{.title = "before <training>", .divergence = 0.5};
  map.groups = {{"colour", false, {{0, 0}, {1, 2}, {3, 1}}}, {"ink", true, {{5, 5}, {6, 6}}}};
  input.maps = {map};
  const auto html = maps_section(input);
  EXPECT_EQ(test::unbalanced(html), "");
  EXPECT_EQ(count(html, "h0"), 3 + 1) << "dots, and one in the legend";
  EXPECT_EQ(count(html, "l5 5m0-5l-5 5"), 2 + 1);
  EXPECT_THAT(html, HasSubstr("ink, translations into it"));
  EXPECT_THAT(html, HasSubstr("before &lt;training&gt; 0.50"));
}

/// A run with the fabricated figures, as its files would be read.
ComparedRun run_of(const ReportInput& input, const std::string& name) {
  ComparedRun run{.name = name, .folder = "runs/" + name, .main = "cut"};
  run.settings = {{"run.out", name}, {"seed", "0"}, {"train.epochs", name == "one" ? "15" : "24"}};
  run.metrics = metrics_json(input, "cds", "cut");
  const TemporaryFolder folder;
  write_hits(folder / "hits.json", input, {{"colour", "hash"}});
  run.hits = io::read_json(folder / "hits.json").as_object();
  run.logs = {{"cds", input.arms[0].log}, {"cut", input.arms[1].log}};
  return run;
}

TEST_F(Sections, AComparisonOfRunsHasTheirFiguresDifferencesAndSettings) {
  ReportInput other = *input_;
  other.arms[1].evaluation = test::fabricated_evaluation(*flowers_, 0.3, 9);
  std::vector<ComparedRun> runs{run_of(*input_, "one"), run_of(other, "two <b>")};
  const auto file = flowers_->root / "comparison.html";
  const auto differences = differences_of(runs, 300);
  write_comparison(file, runs, differences);
  const auto page = io::read_file(file);
  EXPECT_EQ(test::unbalanced(page), "");
  for (const char* outside : {"<script", "<link", "url(", "src="}) EXPECT_THAT(page, Not(HasSubstr(outside)));
  EXPECT_THAT(page, HasSubstr("two &lt;b&gt;"));
  EXPECT_THAT(page, HasSubstr("<code>train.epochs</code></th><td class=\"text\"><code>15</code></td><td class=\"text\"><code>24</code>"));
  EXPECT_THAT(page, Not(HasSubstr("<code>seed</code>"))) << "it is the same";
  EXPECT_THAT(page, Not(HasSubstr("not measured alike")));
  EXPECT_THAT(page, HasSubstr("<figcaption>cut: loss</figcaption>"));

  ASSERT_EQ(differences.size(), 3u) << "cds, cut and true";
  for (const auto& difference : differences) {
    const double expected = difference.arm != "cut" ? 0 : other.arms[1].evaluation.mean.at(1).value - input_->arms[1].evaluation.mean.at(1).value;
    EXPECT_NEAR(difference.figures.mean.at(1).value, expected, 1e-12) << difference.arm;
    EXPECT_EQ(difference.figures.mean.at(1).low > 0, difference.arm == "cut") << difference.arm;
  }
  EXPECT_THAT(comparison_text(runs, differences), HasSubstr("cut of two <b> less one:  Prec@1 *+"));
  EXPECT_EQ(comparison_json(runs, differences).at("settings").as_object().size(), 1u);

  runs[1].hits["images"] = {{"colour", "another"}};
  EXPECT_TRUE(differences_of(runs, 300).empty()) << "other queries";
  runs[1].metrics["protocol"] = "another";
  write_comparison(file, runs, {});
  EXPECT_THAT(io::read_file(file), HasSubstr("not measured alike"));
  EXPECT_THAT(io::read_file(file), HasSubstr("two &lt;b&gt; is not compared with one query by query: it was not measured on the same images."));
  const auto expect_left_out = [&](auto change, const char* why) {
    std::vector<ComparedRun> changed{run_of(*input_, "one"), run_of(*input_, "two")};
    change(changed[1]);
    EXPECT_TRUE(differences_of(changed, 300).empty()) << why;
    EXPECT_THAT(comparison_text(changed, {}), HasSubstr(std::string("two is not compared with one query by query: ") + why));
  };
  expect_left_out([](ComparedRun& run) { run.metrics["domains"] = {{"a", "ink"}, {"b", "colour"}}; }, "its domains are others, or stand in another order.");
  expect_left_out([](ComparedRun& run) { run.settings.emplace_back("evaluate.gallery", "\"shared\""); }, "its evaluate.gallery is another.");
  runs[1].hits = run_of(*input_, "one").hits;
  runs[1].hits["correct"].as_object().begin()->value().as_object().begin()->value().as_object()["prec@1"] = boost::json::array{1};
  EXPECT_THROW(differences_of(runs, 300), core::DataError);
}

}  // namespace
}  // namespace syncdr::evaluation
