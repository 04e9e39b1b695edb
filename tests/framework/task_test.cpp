#include <echo/task.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

// Two samples; the first has two labels, the second has none.
class TwoSamples final : public Task {
 public:
  TaskInfo info() const override { return {.vocabulary = 8, .length = 3, .validation_samples = 2}; }
  Batch batch(Split, int64_t first, int64_t count) const override {
    const at::Tensor inputs = at::arange(6, at::kLong).view({2, 3});
    const at::Tensor labels =
        at::tensor(std::vector<int64_t>{-100, 4, 5, -100, -100, -100}, at::kLong).view({2, 3});
    return {.inputs = inputs.narrow(0, first, count), .labels = labels.narrow(0, first, count)};
  }
};

class FixedEvaluator final : public Evaluator {
 public:
  int64_t batch_size() const override { return 1; }
  Result score(const Batch& batch) override {
    const at::Tensor scored = batch.labels != -100;
    return {at::where(scored, at::full({}, -0.5), at::full({}, 0.0)),
            at::where(scored, at::full({}, 4), at::full({}, -100)).to(at::kLong)};
  }
  void progress(int64_t done, int64_t total) override {
    last_done = done;
    last_total = total;
  }
  int64_t last_done = 0;
  int64_t last_total = 0;
};

TEST(TaskTest, ScoresLossPerTokenAndAccuracyPerSample) {
  FixedEvaluator model;
  const Scores scores = TwoSamples().evaluate(model, Split::validation);
  EXPECT_DOUBLE_EQ(scores.at("loss").mean(), 0.5);
  EXPECT_DOUBLE_EQ(scores.at("loss").count, 2);
  EXPECT_DOUBLE_EQ(scores.at("accuracy").mean(), 0.5);
  EXPECT_DOUBLE_EQ(scores.at("accuracy").count, 1);  // a sample without labels has no accuracy
  EXPECT_EQ(model.last_done, 2);
  EXPECT_EQ(model.last_total, 2);
}

// Two samples of one scored token each, in the slices 7 and 9.
class TwoSlices final : public Task {
 public:
  TaskInfo info() const override { return {.vocabulary = 8, .length = 1, .test_samples = 2}; }
  Batch batch(Split, int64_t first, int64_t count) const override {
    const at::Tensor labels = at::tensor(std::vector<int64_t>{4, 5}, at::kLong).view({2, 1});
    const at::Tensor slice = at::tensor(std::vector<int64_t>{7, 9}, at::kLong);
    return {.inputs = at::zeros_like(labels).narrow(0, first, count),
            .labels = labels.narrow(0, first, count),
            .slice = slice.narrow(0, first, count)};
  }
};

TEST(TaskTest, ScoresEverySliceByItsName) {
  FixedEvaluator model;
  const Scores scores = TwoSlices().evaluate(model, Split::test);
  EXPECT_DOUBLE_EQ(scores.at("accuracy").mean(), 0.5);
  EXPECT_DOUBLE_EQ(scores.at("accuracy/7").mean(), 1);
  EXPECT_DOUBLE_EQ(scores.at("accuracy/9").mean(), 0);
  EXPECT_DOUBLE_EQ(scores.at("accuracy/9").count, 1);
}

TEST(TaskTest, AddsScoresOverBatches) {
  Scores scores = {{"loss", {1, 2}}};
  add(scores, {{"loss", {3, 4}}, {"accuracy", {1, 1}}});
  EXPECT_DOUBLE_EQ(scores["loss"].sum, 4);
  EXPECT_DOUBLE_EQ(scores["loss"].count, 6);
  EXPECT_DOUBLE_EQ(scores["accuracy"].mean(), 1);
}

TEST(TaskTest, ShowsLabelsBesideTheirTokens) {
  const TwoSamples task;
  EXPECT_EQ(task.show(task.batch(Split::test, 0, 2), 0), "0 1->4 2->5");
}

TEST(TaskTest, ReadsAndWritesTokensAsNumbers) {
  const TwoSamples task;
  EXPECT_EQ(task.encode(" 3 1\n7"), (std::vector<int64_t>{3, 1, 7}));
  EXPECT_EQ(task.decode({3, 1, 7}), "3 1 7");
}

}  // namespace
}  // namespace echo
