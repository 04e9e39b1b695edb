#include "framework/src/model/scoring.h"

#include "tests/framework/model/small_model.h"

#include <gtest/gtest.h>

namespace echo {
namespace {

Batch small_batch() {
  Batch batch{.inputs = small_tokens(2, 5), .labels = at::full({2, 5}, -100, at::kLong)};
  batch.labels[0][1] = 3;
  batch.labels[1][4] = 7;
  return batch;
}

TEST(ScoringTest, SumsTheLossOfTheScoredPositions) {
  const auto model = small_model();
  const PlacedBatch placed = place(small_batch(), at::kCPU);
  EXPECT_EQ(placed.scored_count, 2);
  const at::Tensor log_probability =
      model->logits(model->hidden(placed.batch.inputs, {})).log_softmax(-1);
  const at::Tensor expected = -(log_probability[0][1][3] + log_probability[1][4][7]);
  EXPECT_TRUE(at::allclose(loss_sum(*model, placed, placed.span()), expected));
}

TEST(ScoringTest, ABatchWithoutLabelsLosesNothing) {
  const auto model = small_model();
  Batch batch = small_batch();
  batch.labels.fill_(-100);
  const PlacedBatch placed = place(batch, at::kCPU);
  const at::Tensor loss = loss_sum(*model, placed, placed.span());
  EXPECT_EQ(loss.item<double>(), 0);
  loss.backward();
  for (const Parameter& parameter : model->parameters()) {
    EXPECT_TRUE(!parameter.gradient().defined() ||
                parameter.gradient().abs().sum().item<double>() == 0);
  }
}

TEST(ScoringTest, EvaluatorGivesLogProbabilityAndPrediction) {
  const auto model = small_model();
  ModelEvaluator evaluator(*model, 2);
  const Batch batch = small_batch();
  const Evaluator::Result result = evaluator.score(batch);
  const at::Tensor logits = model->logits(model->hidden(batch.inputs, {}));
  EXPECT_NEAR(result.log_probability[0][1].item<float>(),
              logits.log_softmax(-1)[0][1][3].item<double>(), 1e-6);
  EXPECT_EQ(result.prediction[1][4].item<int64_t>(), logits[1][4].argmax().item<int64_t>());
  EXPECT_EQ(result.log_probability[0][0].item<float>(), 0);
  EXPECT_EQ(result.prediction[0][0].item<int64_t>(), -100);
}

TEST(ScoringTest, PartsOfABatchMakeUpTheWhole) {
  Batch batch = small_batch();
  batch.starts = at::zeros({2, 5}, at::kBool);
  batch.starts[0][1] = true;
  batch.lengths = at::tensor(std::vector<int64_t>{5, 2}, at::kLong);
  const PlacedBatch first = place_part(batch, 0, 2, at::kCPU);
  const PlacedBatch second = place_part(batch, 1, 2, at::kCPU);
  EXPECT_TRUE(at::equal(at::cat({first.batch.inputs, second.batch.inputs}, 1), batch.inputs));
  EXPECT_TRUE(at::equal(at::cat({first.batch.labels, second.batch.labels}, 1), batch.labels));
  EXPECT_EQ(first.batch.inputs.size(1), 2);
  EXPECT_EQ(first.scored_count + second.scored_count, place(batch, at::kCPU).scored_count);
  EXPECT_EQ(first.offsets.starts[0], std::vector<int64_t>{1});
  EXPECT_TRUE(second.offsets.starts[0].empty());
  EXPECT_EQ(first.offsets.lengths, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(second.offsets.lengths, (std::vector<int64_t>{3, 0}));
  EXPECT_TRUE(at::equal(second.part.position, at::tensor(std::vector<int64_t>{1, 2}, at::kLong)));
}

TEST(ScoringTest, EvaluatorKeepsNoGraph) {
  const auto model = small_model();
  ModelEvaluator evaluator(*model, 2);
  EXPECT_FALSE(evaluator.score(small_batch()).log_probability.requires_grad());
}

}  // namespace
}  // namespace echo
