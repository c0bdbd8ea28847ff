// rooms: evaluation
#include <ATen/ops/arange.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>

#include <cmath>
#include <functional>
#include <limits>
#include <tuple>

#include "../unit/evaluation/flower_dataset.h"
#include "mpi_test.h"
#include "syncdr/data/loader.h"
#include "syncdr/evaluation/evaluate.h"
#include "syncdr/evaluation/retention.h"
#include "syncdr/evaluation/validate.h"
#include "syncdr/retrieval/features.h"

namespace syncdr {
namespace {

using test::world;

/// The same dataset on all ranks, written by rank 0.
class EvaluationOverRanks : public testing::Test {
 protected:
  void write(const std::string& name) {
    world().root_only("writing flowers", [&] { flowers_.write(name); });
    root_ = world().broadcast(flowers_.root.string(), 0, "telling the folder");
  }
  void TearDown() override { world().barrier("all have read the flowers"); }  // then rank 0's destructor removes them

  static retrieval::Encoder small_encoder() {
    retrieval::EncoderConfig config;
    config.name = "small";
    config.dim = 16;
    return retrieval::make_encoder(config, 5);
  }
  static data::AugmentConfig views() {
    data::AugmentConfig config;
    config.resize = config.crop = 64;
    return config;
  }

  evaluation::Evaluation evaluate(retrieval::Encoder& encoder, const std::vector<std::string>& domains, const evaluation::EvaluateConfig& config) const {
    const data::Dataset dataset(root_);
    return evaluation::evaluate(world(), encoder, {dataset, domains, "test", views(), 1}, config);
  }

  test::FlowerDataset flowers_;
  std::filesystem::path root_;
};

TEST_F(EvaluationOverRanks, FeaturesAreThoseOfOneRankInTheListsOrder) {
  write("features");
  const data::Dataset dataset(root_);
  auto encoder = small_encoder();
  const auto list = dataset.real("ink", "test");
  const auto features = evaluation::embed(world(), encoder, list, views(), 5);  // 24 rows: the last batch is short on 1, 2 and 3 ranks
  EXPECT_TRUE(encoder->is_training());
  ASSERT_EQ(features.defined(), world().is_root());
  if (!world().is_root()) return;
  encoder->eval();
  const at::NoGradGuard no_grad;
  const auto alone = encoder->forward(retrieval::normalise_images(data::load_evaluation(list, 0, list.rows(), views()), encoder->normalisation(), at::kCPU));
  ASSERT_EQ(features.sizes(), alone.sizes());
  EXPECT_TRUE(at::allclose(features, alone, 1e-5, 1e-6));
  EXPECT_FALSE(features.requires_grad());
}

// Numbers of images and sizes on both sides of what changes LibTorch's kernels: see retrieval/features.h.
TEST_F(EvaluationOverRanks, FeaturesHaveTheSameBitsOnAnyNumberOfRanksInBatchesOfAnySize) {
  flowers_.categories = 7;
  flowers_.train = 1;
  for (const int64_t side : {64, 160, 192}) {
    for (const int64_t renders : {5, 7}) {  // 35 and 49 images: a call of 32 and a rest of 3 or 17
      flowers_.side = side;
      flowers_.renders = renders;
      write(fmt::format("bits-{}-{}", side, renders));
      auto encoder = small_encoder();
      const auto list = data::Dataset(root_).real("ink", "test");
      auto views = this->views();
      views.resize = views.crop = side;
      const auto features = evaluation::embed(world(), encoder, list, views, 64), other = evaluation::embed(world(), encoder, list, views, 15);
      if (!world().is_root()) continue;
      EXPECT_TRUE(at::equal(features, other)) << side;
      encoder->eval();
      for (int64_t row = 0; row < list.rows(); row += 8) {
        const auto alone = retrieval::features_of(encoder, data::load_evaluation(list, row, row + 1, views), at::kCPU, retrieval::images_a_call(at::kCPU, 1));
        EXPECT_TRUE(at::equal(features[row], alone[0])) << "row " << row << " of " << list.rows() << ", " << side << " pixels";
      }
    }
  }
}

TEST_F(EvaluationOverRanks, AnEncoderInEvaluationModeStaysInIt) {
  write("mode");
  auto encoder = small_encoder();
  encoder->eval();
  evaluation::embed(world(), encoder, data::Dataset(root_).real("ink", "test"), views(), 64);
  EXPECT_FALSE(encoder->is_training());
}

TEST_F(EvaluationOverRanks, FewerImagesThanRanksLeaveSomeWithoutWork) {
  flowers_.categories = flowers_.renders = 1;
  write("few");
  auto encoder = small_encoder();
  const auto features = evaluation::embed(world(), encoder, data::Dataset(root_).real("ink", "test"), views(), 8);
  if (!world().is_root()) return;
  EXPECT_EQ(features.sizes(), (std::vector<int64_t>{1, 16}));
}

TEST_F(EvaluationOverRanks, BothDirectionsAreMeasuredOnRankZero) {
  write("both");
  auto encoder = small_encoder();
  const auto result = evaluate(encoder, {"colour", "ink"}, {});
  if (!world().is_root()) {
    EXPECT_TRUE(result.mean.empty());
    return;
  }
  ASSERT_EQ(result.directions.size(), 2u);
  for (const auto& direction : result.directions) {
    EXPECT_EQ(direction.queries, 24);
    EXPECT_EQ(direction.gallery, 24);
    EXPECT_EQ(direction.nearest.sizes(), (std::vector<int64_t>{24, 15}));
    EXPECT_EQ(direction.figures.size(), 10u);
    EXPECT_EQ(direction.category_set, "closed");
    EXPECT_EQ(direction.shared_categories, 12);
    EXPECT_EQ(direction.unanswerable, 0);
  }
  EXPECT_EQ(result.directions[1].query_domain + result.directions[1].gallery_domain, "inkcolour");
  EXPECT_DOUBLE_EQ(result.mean.at(5).value, (result.directions[0].figures.at(5).value + result.directions[1].figures.at(5).value) / 2);
}

TEST_F(EvaluationOverRanks, DirectionsOfThreeDomainsAreThoseOfTheirPairs) {
  flowers_.domains = {"colour", "ink", "chalk"};
  write("three");
  auto encoder = small_encoder();
  const auto all = evaluate(encoder, flowers_.domains, {});
  if (world().is_root()) {
    ASSERT_EQ(all.directions.size(), 6u);
  }
  for (const size_t direction : {0, 1, 2, 3, 4, 5}) {
    const std::vector<std::pair<std::string, std::string>> pairs{{"colour", "ink"}, {"colour", "chalk"}, {"ink", "colour"},
                                                                 {"ink", "chalk"},  {"chalk", "colour"}, {"chalk", "ink"}};
    const auto& [query, gallery] = pairs[direction];
    const auto pair = evaluate(encoder, {query, gallery}, {});
    if (!world().is_root()) continue;
    EXPECT_EQ(all.directions[direction].query_domain, query);
    EXPECT_EQ(all.directions[direction].gallery_domain, gallery);
    EXPECT_EQ(all.directions[direction].figures.at(5).value, pair.directions[0].figures.at(5).value);
    EXPECT_TRUE(at::equal(all.directions[direction].nearest, pair.directions[0].nearest));
  }
}

TEST_F(EvaluationOverRanks, AnEncoderThatKnowsTheAnswerIsPerfect) {
  // The same images as query and gallery: each is its own nearest.
  write("perfect");
  auto encoder = small_encoder();
  evaluation::EvaluateConfig config;
  config.cutoffs = {1};
  const auto result = evaluate(encoder, {"ink", "ink"}, config);
  if (!world().is_root()) return;
  EXPECT_DOUBLE_EQ(result.mean.at(1).value, 1.0);
}

// 35 and 23 images: neither number divides by 2 or 3 ranks.
TEST_F(EvaluationOverRanks, FiguresAreThoseOfTheFeaturesWhateverTheNumberOfRanks) {
  flowers_.test_rows = {{"colour", 35}, {"ink", 23}};
  flowers_.own_category_in = "ink";
  flowers_.label_training = 6;
  write("figures");
  const data::Dataset dataset(root_);
  auto encoder = small_encoder();
  const auto result = evaluate(encoder, {"colour", "ink"}, {});
  evaluation::EvaluateConfig shared;
  shared.gallery = "shared";
  const auto closed = evaluate(encoder, {"colour", "ink"}, shared);
  std::map<std::string, at::Tensor> features, labels;
  for (const std::string domain : {"colour", "ink"}) {
    const auto list = dataset.real(domain, "test");
    features[domain] = evaluation::embed(world(), encoder, list, views(), 64);
    labels[domain] = evaluation::labels_of(list, domain, "test");
  }
  if (!world().is_root()) return;
  const auto measures = evaluation::EvaluateConfig().measures();
  EXPECT_EQ(measures.size(), 10u);
  for (const auto& direction : result.directions) {
    const auto& [query, gallery] = std::tie(direction.query_domain, direction.gallery_domain);
    const auto found = evaluation::measure(features[query], features[gallery], labels[query], labels[gallery], measures, 15);
    for (const auto& [measure, hits] : found.hits)
      EXPECT_DOUBLE_EQ(direction.figures.at(measure).value, evaluation::share_correct({&hits, 1}, evaluation::Unit::queries, 0, 0).value)
          << evaluation::name_of(measure);
    EXPECT_EQ(direction.category_set, "open") << "11 is in colour alone, 12 in ink";
    EXPECT_EQ(direction.unanswerable, query == "ink" ? 1 : 2);
  }
  EXPECT_EQ(closed.directions[0].gallery, 22);
  EXPECT_EQ(closed.directions[1].gallery, 33);
  EXPECT_EQ(closed.directions[0].category_set, "partial") << "queries of 11 are left";
  const auto nearest = labels["colour"].index_select(0, closed.directions[1].nearest.flatten());
  EXPECT_FALSE(nearest.eq(11).any().item<bool>()) << "rows are those of the whole list";
  // Training shows categories 0 to 5.
  ASSERT_EQ(result.groups.size(), 3u);
  EXPECT_EQ(result.groups[0].name + " " + result.groups[1].name + " " + result.groups[2].name, "seen unseen seen_in_both");
  EXPECT_EQ(result.groups[0].queries, (std::vector<int64_t>{18, 12}));
  EXPECT_EQ(result.groups[1].queries, (std::vector<int64_t>{15, 10}));
  EXPECT_EQ(result.groups[0].mean.size(), 4u);
}

TEST_F(EvaluationOverRanks, UcdirsProtocolMeasuresOnTheTrainingImages) {
  flowers_.label_training = 12;
  write("ucdir");
  evaluation::EvaluateConfig config;
  config.protocol = "ucdir";
  ASSERT_EQ(config.split(), "train");
  auto encoder = small_encoder();
  const data::Dataset dataset(root_);
  const auto result = evaluation::evaluate(world(), encoder, {dataset, {"colour", "ink"}, config.split(), views(), 1}, config);
  if (!world().is_root()) return;
  EXPECT_EQ(result.protocol, "ucdir");
  EXPECT_EQ(result.directions[0].queries, 40);
  EXPECT_EQ(result.directions[0].gallery, 40);
  EXPECT_EQ(result.groups.size(), 2u) << "all categories are seen, in both domains";
}

TEST_F(EvaluationOverRanks, SettingsThatCannotWorkAreRefusedOnEveryRank) {
  write("settings");
  auto encoder = small_encoder();
  for (const auto& change : std::vector<std::function<void(evaluation::EvaluateConfig&)>>{
           [](auto& config) { config.cutoffs = {}; }, [](auto& config) { config.cutoffs = {5, 5}; }, [](auto& config) { config.recall = {1, 2, 1}; }}) {
    evaluation::EvaluateConfig config;
    change(config);
    EXPECT_THROW(evaluate(encoder, {"colour", "ink"}, config), core::UsageError);
  }
}

TEST_F(EvaluationOverRanks, AnImageThatIsThereTwiceIsBadDataOnEveryRank) {
  flowers_.repeated_key = true;
  write("twice");
  auto encoder = small_encoder();
  try {
    evaluate(encoder, {"colour", "ink"}, {});
    ADD_FAILURE() << "no error";
  } catch (const core::DataError& error) {
    EXPECT_NE(std::string(error.what()).find("rows 0 and 24 are the same image"), std::string::npos) << error.what();
  }
}

TEST_F(EvaluationOverRanks, AnUnlabelledImageIsBadDataOnEveryRank) {
  flowers_.missing_label_row = 3;
  write("unlabelled");
  auto encoder = small_encoder();
  try {
    evaluate(encoder, {"colour", "ink"}, {});
    ADD_FAILURE() << "no error";
  } catch (const core::DataError& error) {
    EXPECT_NE(std::string(error.what()).find("row 3"), std::string::npos) << error.what();
  }
}

TEST_F(EvaluationOverRanks, AnEncoderThatGivesNanIsBadDataOnEveryRank) {
  write("nan");
  auto encoder = small_encoder();
  {
    const at::NoGradGuard no_grad;
    for (auto& parameter : encoder->parameters()) parameter.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  try {
    evaluate(encoder, {"colour", "ink"}, {});
    ADD_FAILURE() << "no error";
  } catch (const core::Error& error) {
    EXPECT_EQ(error.code(), core::ExitCode::bad_data);
    EXPECT_NE(std::string(error.what()).find("NaN"), std::string::npos) << error.what();
  }
}

TEST_F(EvaluationOverRanks, CentredFeaturesAreThoseLessTheirDomainsMeanOverTrainingImages) {
  write("centred");
  const data::Dataset dataset(root_);
  auto encoder = small_encoder();
  std::map<std::string, at::Tensor> centred;
  for (const std::string domain : {"colour", "ink"}) {
    const auto test = evaluation::embed(world(), encoder, dataset.real(domain, "test"), views(), 8);
    const auto train = evaluation::embed(world(), encoder, dataset.real(domain, "train"), views(), 8);
    if (!world().is_root()) continue;
    const auto moved = test - train.mean(0);
    centred[domain] = moved / moved.norm(2, 1, true);
  }
  evaluation::EvaluationData data{dataset, {"colour", "ink"}, "test", views(), 1, "train"};
  const auto result = evaluation::evaluate(world(), encoder, data, {});
  if (!world().is_root()) return;
  const auto similarity = at::mm(centred["colour"], centred["ink"].t()), found = similarity.gather(1, result.directions[0].nearest);
  EXPECT_TRUE(at::allclose(found, std::get<0>(similarity.topk(15, 1)), 1e-4, 1e-5));
}

TEST_F(EvaluationOverRanks, ValidationAgreesWithTheEvaluationAndNeedsNoLabels) {
  for (const int32_t unlabelled : {-1, 3}) {
    flowers_.missing_label_row = -1;
    write("validation");
    const data::Dataset dataset(root_);
    auto encoder = small_encoder();
    const evaluation::EvaluationData data{dataset, {"colour", "ink"}, "test", views(), 1};
    const auto evaluated = evaluation::evaluate(world(), encoder, data, {});
    flowers_.missing_label_row = unlabelled;
    write("validation");
    const data::Dataset other(root_);
    const auto found = evaluation::validate(world(), encoder, {other, {"colour", "ink"}, "test", views(), 1}, {"cut"}, 8);
    const auto without = evaluation::validate(world(), encoder, {other, {"colour", "ink"}, "test", views(), 1}, {}, 8);
    if (!world().is_root()) {
      EXPECT_TRUE(std::isnan(found.labels) && std::isnan(found.mutual));
      continue;
    }
    if (unlabelled < 0) EXPECT_DOUBLE_EQ(found.labels, evaluated.mean.at(1).value);
    else EXPECT_TRUE(std::isnan(found.labels)) << "one image has no label";
    const auto a = evaluated.directions[0].nearest.select(1, 0), b = evaluated.directions[1].nearest.select(1, 0);
    EXPECT_DOUBLE_EQ(found.mutual, b.index_select(0, a).eq(at::arange(24)).to(at::kDouble).mean().item<double>());
    EXPECT_LT(found.uniformity, 0);
    EXPECT_GT(found.alignment, 0);
    EXPECT_LT(found.alignment, 4);
    EXPECT_TRUE(std::isnan(without.alignment));
  }
}

TEST_F(EvaluationOverRanks, RetentionIsThatOfOneRankAndLeavesQuarantinedTranslationsOut) {
  write("retention");
  const data::Dataset dataset(root_);
  auto encoder = small_encoder();
  const auto ranks = evaluation::measure_retention(world(), encoder, dataset, "colour", "ink", "cut", views(), 8);
  const auto sources = evaluation::embed(world(), encoder, dataset.real("colour", "train"), views(), 64);
  const auto made = evaluation::embed(world(), encoder, dataset.synthetic("colour", "ink", "cut"), views(), 64);
  if (!world().is_root()) return;
  EXPECT_EQ(ranks.pairs(), 35) << "every seventh of 40 is quarantined";
  EXPECT_EQ(ranks.source[6][0].item<int64_t>(), 0);
  for (const int64_t row : {0, 5, 39}) {
    const auto scores = at::mv(sources, made[row]);
    EXPECT_NEAR(ranks.source[row][0].item<double>(), 1 + scores.gt(scores[row]).sum().item<double>(), 1) << row;
  }
}

}  // namespace
}  // namespace syncdr
