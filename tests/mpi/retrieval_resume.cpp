// ranks: 1
// after: mpi.retrieval.2
#include "retrieval_case.h"

namespace syncdr::retrieval {
namespace {

TEST_F(Training, OfTwoRanksGoesOnOnOne) {
  ASSERT_TRUE(fs::exists(beside_program("checkpoints-2"))) << "run mpi_retrieval with one and with two ranks first";
  copy(beside_program("checkpoints-2"), folder_ / "run" / "checkpoints");
  const TrainResult result = run(config_of_test(), Scores{.values = {0.25, 0.5}}, "run");
  EXPECT_EQ(result.best_score, 0.5);
  EXPECT_EQ(result.best_epoch, 2);
  for (const char* figure : figures) {
    const Curve reference = training::read_metric(beside_program("log.jsonl"), figure);
    ASSERT_EQ(reference.size(), 20u);
    expect_same(curve("run", figure), Curve(reference.begin() + 10, reference.end()), rounding, figure);
  }
}

}  // namespace
}  // namespace syncdr::retrieval
