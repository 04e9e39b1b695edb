#include "trainers/report/curves.h"

#include "tests/trainers/support.h"

#include <echo/error.h>

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using testing::ElementsAre;

class CurvesTest : public testing::Test {
 protected:
  Curves read(const std::string& text) {
    std::ofstream(folder_ / "metrics.jsonl") << text;
    return read_curves(folder_ / "metrics.jsonl");
  }
  testing_run::TemporaryFolder folder_;
};

TEST_F(CurvesTest, ReadsTrainingAndEvaluation) {
  const Curves curves = read(R"({"step": 10, "loss": 2.5, "seconds": 1.5}
{"step": 20, "loss": 2.0, "seconds": 3, "auxiliary": {"balance": 0.1}}
{"step": 20, "eval": {"task": {"loss": 2.1, "accuracy": 0.5, "accuracy/gap 8": 0.4}}}
)");
  EXPECT_THAT(curves.training.at("loss").values, ElementsAre(2.5, 2.0));
  EXPECT_THAT(curves.training.at("loss").steps, ElementsAre(10, 20));
  EXPECT_THAT(curves.training.at("auxiliary/balance").values, ElementsAre(0.1));
  EXPECT_THAT(curves.evaluation.at("accuracy").at("task").values, ElementsAre(0.5));
  EXPECT_EQ(curves.evaluation.count("accuracy/gap 8"), 0u);
  EXPECT_EQ(curves.last_step, 20);
  EXPECT_EQ(curves.seconds, 3);
}

TEST_F(CurvesTest, ToleratesALastLineThatIsBeingWritten) {
  const Curves curves = read("{\"step\": 10, \"loss\": 2.5}\n{\"step\": 20, \"lo");
  EXPECT_EQ(curves.training.at("loss").size(), 1u);
  EXPECT_EQ(curves.unreadable_lines, 0);
}

TEST_F(CurvesTest, CountsOtherLinesThatCannotBeRead) {
  EXPECT_EQ(read("{\"step\": 10}\nnonsense\n[1]\n{\"step\": 20}\n").unreadable_lines, 2);
}

TEST_F(CurvesTest, KeepsWhatIsNotFiniteAsNaN) {
  const Curves curves = read("{\"step\": 10, \"loss\": null}\n");
  ASSERT_EQ(curves.training.at("loss").size(), 1u);
  EXPECT_TRUE(std::isnan(curves.training.at("loss").values[0]));
}

TEST_F(CurvesTest, RefusesAMissingFile) { EXPECT_THROW(read_curves(folder_ / "absent"), Error); }

Curve waves(size_t size) {
  Curve curve;
  for (size_t i = 0; i < size; ++i) {
    curve.add(static_cast<double>(i), std::sin(static_cast<double>(i)));
  }
  return curve;
}

TEST(Thinned, LeavesAShortCurveAlone) { EXPECT_EQ(thinned(waves(100), 100).size(), 100u); }

TEST(Thinned, KeepsEndsExtremesAndTheOrderOfAMillionPoints) {
  Curve curve = waves(1'000'000);
  curve.values[123'457] = 7;
  curve.values[765'432] = -7;
  const Curve few = thinned(curve, 1000);
  EXPECT_LE(few.size(), 1250u);
  EXPECT_GE(few.size(), 900u);
  EXPECT_THAT(few.values, testing::Contains(7));
  EXPECT_THAT(few.values, testing::Contains(-7));
  EXPECT_EQ(few.steps.front(), 0);
  EXPECT_EQ(few.steps.back(), 999'999);
  EXPECT_TRUE(std::is_sorted(few.steps.begin(), few.steps.end()));
}

TEST(Thinned, KeepsAValueThatIsNotFinite) {
  Curve curve = waves(10'000);
  curve.values[5000] = std::numeric_limits<double>::quiet_NaN();
  const Curve few = thinned(curve, 100);
  EXPECT_TRUE(std::any_of(few.values.begin(), few.values.end(),
                          [](double value) { return std::isnan(value); }));
}

TEST(RunningMean, TakesThePointsAround) {
  Curve curve;
  for (const double value : {1, 2, 6, 4, 5}) curve.add(static_cast<double>(curve.size()), value);
  EXPECT_THAT(running_mean(curve, 3).values, ElementsAre(1.5, 3, 4, 5, 4.5));
}

TEST(RunningMean, LeavesOutWhatIsNotFinite) {
  Curve curve;
  curve.add(0, 1);
  curve.add(1, std::numeric_limits<double>::quiet_NaN());
  curve.add(2, 3);
  EXPECT_THAT(running_mean(curve, 3).values, ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace echo
