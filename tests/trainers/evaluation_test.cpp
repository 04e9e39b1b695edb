#include "trainers/evaluation.h"

#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::ElementsAre;
using testing::Key;
using namespace testing_run;

TEST(Evaluation, MakesTheRecipesOwnTaskAndThoseBesideIt) {
  const auto tasks = evaluation_tasks(
      recipe({"evaluate.tasks={earlier: {kind: repeat, length: 9}}"}), plugins().registry());
  EXPECT_THAT(tasks, ElementsAre(Key("task"), Key("earlier")));
  EXPECT_EQ(tasks[0].second->info().length, 6);
  EXPECT_EQ(tasks[1].second->info().length, 9);
}

TEST(Evaluation, PrefersTheTestSplitAtTheEnd) {
  EXPECT_EQ(final_split({.validation_samples = 5, .test_samples = 5}), Split::test);
  EXPECT_EQ(final_split({.validation_samples = 5}), Split::validation);
  EXPECT_EQ(final_split({.train_samples = 5}), std::nullopt);
}

TEST(Evaluation, LeavesOutScoresThatCountedNothing) {
  const Scores scores = {{"accuracy", {3, 4}}, {"loss", {0, 0}}, {"bad", {NAN, 2}}};
  EXPECT_EQ(scores_json(scores).dump(), "{\"accuracy\":0.75}");
}

TEST(Evaluation, TakesTheScoreThatTheTaskNames) {
  const Scores scores = {{"accuracy", {3, 4}}, {"bits_per_byte", {4, 2}}, {"empty", {0, 0}}};
  EXPECT_EQ(metric_of({.metric = "accuracy"}, scores), 0.75);
  EXPECT_EQ(metric_of({.metric = "bits_per_byte"}, scores), 2);
  EXPECT_EQ(metric_of({.metric = "empty"}, scores), std::nullopt);
  EXPECT_EQ(metric_of({.metric = "other"}, scores), std::nullopt);
}

TEST(Evaluation, HigherAccuracyAndFewerBitsAreBetter) {
  EXPECT_TRUE(better({.metric = "accuracy"}, 0.6, 0.5));
  EXPECT_FALSE(better({.metric = "accuracy"}, 0.5, 0.5));
  EXPECT_TRUE(better({.metric = "bits_per_byte"}, 1.9, 2.0));
}

TEST(Evaluation, IsSolvedFrom99PercentAccuracyOn) {
  EXPECT_FALSE(solved({.metric = "accuracy"}, 0.9899));
  EXPECT_TRUE(solved({.metric = "accuracy"}, 0.99));
  EXPECT_FALSE(solved({.metric = "bits_per_byte"}, 1.5));
}

TEST(Evaluation, ReportsProgressBatchByBatch) {
  Learner learner(recipe(), plugins().registry(), at::kCPU);
  const Repeat task({.validation = 10}, {});
  std::vector<int64_t> seen;
  evaluate(learner.model(), task, Split::validation, 4,
           [&](int64_t done, int64_t) { seen.push_back(done); });
  EXPECT_THAT(seen, ElementsAre(4, 8, 10));
}

TEST(Evaluation, IsTheSameWhateverTheBatch) {
  Learner learner(recipe(), plugins().registry(), at::kCPU);
  const Repeat task({.padded = true, .validation = 10}, {});
  const auto quiet = [](int64_t, int64_t) {};
  const Scores a = evaluate(learner.model(), task, Split::validation, 10, quiet);
  const Scores b = evaluate(learner.model(), task, Split::validation, 3, quiet);
  EXPECT_EQ(a.at("accuracy").sum, b.at("accuracy").sum);
  EXPECT_NEAR(a.at("loss").mean(), b.at("loss").mean(), 1e-6);
}

}  // namespace
}  // namespace echo
