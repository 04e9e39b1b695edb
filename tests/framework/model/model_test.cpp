#include "tests/framework/model/small_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

at::Tensor rms(const at::Tensor& x) { return x / (x.square().mean(-1, true) + 1e-6).sqrt(); }

at::Tensor summed(const at::Tensor& x) { return x.cumsum(1); }

std::vector<std::string> names(const Model& model) {
  std::vector<std::string> all;
  for (const Parameter& parameter : model.parameters()) all.push_back(parameter.name);
  return all;
}

TEST(ModelTest, NamesTensorsByBlockAndBranch) {
  EXPECT_THAT(
      names(*small_model()),
      ::testing::ElementsAre("embedding.weight", "blocks.0.0.norm.weight", "blocks.0.0.mixer.gain",
                             "blocks.1.0.norm.weight", "blocks.1.0.mixer.gain",
                             "blocks.1.1.mixer.gain", "final_norm.weight"));
}

TEST(ModelTest, HasAHeadOfItsOwnWhenUntied) {
  ModelRecipe recipe = small_recipe();
  recipe.head.tied = false;
  EXPECT_EQ(names(*small_model(recipe)).back(), "head.weight");
}

TEST(ModelTest, EqualsItsDefinition) {
  const auto model = small_model();
  const at::Tensor tokens = small_tokens(2, 5);
  const at::Tensor embedding = model->parameters()[0].value();
  at::Tensor x = at::embedding(embedding, tokens);
  x = x + 0.5 * summed(rms(x));
  x = x + rms(summed(x));
  x = x + summed(x);
  const at::Tensor hidden = model->hidden(tokens, {});
  EXPECT_TRUE(at::allclose(hidden, rms(x)));
  EXPECT_TRUE(at::allclose(model->logits(hidden), at::matmul(hidden, embedding.t())));
}

TEST(ModelTest, PrefillAndDecodingEqualOneForward) {
  ModelRecipe recipe = small_recipe();
  recipe.positions = {PositionsKind::learned, 8};
  const auto model = small_model(recipe);
  const at::Tensor tokens = small_tokens(2, 8);
  const at::Tensor whole = model->hidden(tokens, {});
  ModelState state = model->initial_state(2, 8);
  std::vector<at::Tensor> parts = {model->hidden(tokens.narrow(1, 0, 3), {.state = &state})};
  for (int64_t t = 3; t < 8; ++t)
    parts.push_back(model->hidden(tokens.narrow(1, t, 1), {.state = &state}));
  EXPECT_TRUE(at::allclose(at::cat(parts, 1), whole));
}

TEST(ModelTest, PackedDocumentsEqualDocumentsAlone) {
  ModelRecipe recipe = small_recipe();
  recipe.positions = {PositionsKind::learned, 8};
  const auto model = small_model(recipe);
  const at::Tensor tokens = small_tokens(1, 7);
  at::Tensor starts = at::zeros({1, 7}, at::kBool);
  starts[0][3] = true;
  const Offsets offsets = host_offsets(starts, {}, 1, 7);
  const at::Tensor packed = model->hidden(tokens, {.starts = starts, .offsets = &offsets});
  EXPECT_TRUE(at::allclose(packed.narrow(1, 0, 3), model->hidden(tokens.narrow(1, 0, 3), {})));
  EXPECT_TRUE(at::allclose(packed.narrow(1, 3, 4), model->hidden(tokens.narrow(1, 3, 4), {})));
}

TEST(ModelTest, ScalesEmbeddingAndLogits) {
  ModelRecipe recipe = small_recipe();
  recipe.blocks.clear();
  recipe.logit_scale = 3;
  recipe.embedding_scale = 2;
  const auto model = small_model(recipe);
  const at::Tensor tokens = small_tokens(1, 4);
  const at::Tensor embedding = model->parameters()[0].value();
  const at::Tensor hidden = model->hidden(tokens, {});
  EXPECT_TRUE(at::allclose(hidden, rms(2 * at::embedding(embedding, tokens))));
  EXPECT_TRUE(at::allclose(model->logits(hidden), 3 * at::matmul(hidden, embedding.t())));
}

TEST(ModelTest, DropoutFollowsTheSampleNotTheBatch) {
  ModelRecipe recipe = small_recipe();
  recipe.dropout = 0.5;
  const auto model = small_model(recipe);
  const at::Tensor tokens = small_tokens(3, 6);
  const Dropout all{.seed = 4, .first_sample = 10}, later{.seed = 4, .first_sample = 11};
  const at::Tensor whole = model->hidden(tokens, {.dropout = &all});
  const at::Tensor part = model->hidden(tokens.narrow(0, 1, 2), {.dropout = &later});
  EXPECT_TRUE(at::equal(whole.narrow(0, 1, 2), part));
  EXPECT_FALSE(at::allclose(whole, model->hidden(tokens, {})));
}

TEST(ModelTest, DropoutFollowsTheTokenNotThePart) {
  const int64_t length = 9000, cut = 4500;  // masks are drawn for 4096 tokens at a time
  const at::Tensor x = at::ones({2, length, 3});
  const Dropout masks{.seed = 4, .first_sample = 10};
  const at::Tensor whole = dropped(x, 0.5, "here", &masks);
  const at::Tensor first = dropped(x.narrow(1, 0, cut), 0.5, "here", &masks);
  const at::Tensor second = dropped(x.narrow(1, cut, length - cut), 0.5, "here", &masks, cut);
  EXPECT_TRUE(at::equal(at::cat({first, second}, 1), whole));
  EXPECT_FALSE(at::equal(whole.narrow(1, 0, 4096), whole.narrow(1, 4096, 4096)));
}

TEST(ModelTest, DropoutKeepsTheMean) {
  ModelRecipe recipe = small_recipe();
  recipe.blocks.clear();
  recipe.dropout = 0.25;
  recipe.width = 256;
  const auto model = small_model(recipe);
  struct Recorder final : Probe {
    void record(const std::string& name, const at::Tensor& value) override {
      if (name == "embedding") embedding = value;
    }
    void loss(const std::string&, const at::Tensor&) override {}
    at::Tensor embedding;
  } recorder;
  const Dropout dropout{.seed = 4};
  model->hidden(at::zeros({64, 64}, at::kLong), {.probe = &recorder, .dropout = &dropout});
  const double dropped = recorder.embedding.eq(0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(dropped, 0.25, 0.01);
  const at::Tensor clean =
      at::embedding(model->parameters()[0].value(), at::zeros({64, 64}, at::kLong));
  EXPECT_NEAR((recorder.embedding.sum() / clean.sum()).item<double>(), 1, 0.05);
}

TEST(ModelTest, RefusesMoreTokensThanLearnedPositions) {
  ModelRecipe recipe = small_recipe();
  recipe.positions = {PositionsKind::learned, 4};
  const auto model = small_model(recipe);
  try {
    model->hidden(small_tokens(1, 5), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "the model has learned positions for 4 tokens, and 5 are asked for; shorten the "
                 "text or train with a "
                 "larger model.positions.length");
  }
}

TEST(ModelTest, CountsParametersOnTheMetaDevice) {
  const Model model(small_recipe(), small_registry(),
                    at::TensorOptions().dtype(at::kFloat).device(at::kMeta), at::kFloat);
  EXPECT_EQ(model.parameter_count(), 10 * 4 + 3 * 4 + 2 * 4 + 4);
}

TEST(ModelTest, ComputesInTheDtypeOfActivations) {
  Model model(small_recipe(), small_registry(), at::TensorOptions().dtype(at::kFloat),
              at::kBFloat16);
  initialize(model, 1);
  // RunningSum multiplies by a float32 gain, so its result is float32: the contract says the dtype
  // of x.
  EXPECT_THROW(model.hidden(small_tokens(1, 4), {}), std::logic_error);
  ModelRecipe recipe = small_recipe();
  recipe.blocks.clear();
  Model empty(recipe, small_registry(), at::TensorOptions().dtype(at::kFloat), at::kBFloat16);
  initialize(empty, 1);
  const at::Tensor hidden = empty.hidden(small_tokens(1, 4), {});
  EXPECT_EQ(hidden.scalar_type(), at::kBFloat16);
  EXPECT_EQ(empty.logits(hidden).scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace echo
