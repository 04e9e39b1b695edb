#include "framework/src/generation.h"

#include "tests/framework/model/small_model.h"

#include <echo/error.h>

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const auto go_on = [](int64_t) { return true; };

std::vector<int64_t> generated(Model& model, const std::vector<int64_t>& prompt,
                               const GenerationOptions& options) {
  return generate(model, prompt, options, go_on);
}

// What a model without a state says, token by token.
std::vector<int64_t> most_probable(Model& model, std::vector<int64_t> tokens, int64_t count) {
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor input = at::tensor(tokens, at::kLong).unsqueeze(0);
    const at::Tensor hidden = model.hidden(input, {}).select(1, input.size(1) - 1);
    chosen.push_back(model.logits(hidden).argmax().item<int64_t>());
    tokens.push_back(chosen.back());
  }
  return chosen;
}

std::string refusal(Model& model, const std::vector<int64_t>& prompt,
                    const GenerationOptions& options) {
  try {
    generated(model, prompt, options);
  } catch (const ConfigError& mistake) {
    return mistake.what();
  }
  return "nothing was refused";
}

TEST(Generation, TakesTheMostProbableTokenAtTemperatureZero) {
  const auto model = small_model();
  EXPECT_EQ(generated(*model, {3, 1, 4}, {.max_tokens = 12, .temperature = 0}),
            most_probable(*model, {3, 1, 4}, 12));
}

TEST(Generation, ReadsALongPromptInStretches) {
  const auto model = small_model();
  std::vector<int64_t> prompt;
  for (int64_t i = 0; i < 2100; ++i) prompt.push_back(i * i % 10);
  EXPECT_EQ(generated(*model, prompt, {.max_tokens = 2, .temperature = 0}),
            most_probable(*model, prompt, 2));
}

TEST(Generation, DrawsTheSameTokensFromTheSameSeed) {
  const auto model = small_model();
  const GenerationOptions options{.max_tokens = 40, .temperature = 3, .seed = 5};
  GenerationOptions other = options;
  other.seed = 6;
  EXPECT_EQ(generated(*model, {1}, options), generated(*model, {1}, options));
  EXPECT_NE(generated(*model, {1}, options), generated(*model, {1}, other));
}

TEST(Generation, DrawsAsProbablyAsTheModelSays) {
  const auto model = small_model();
  const at::Tensor hidden = model->hidden(at::tensor({2}, at::kLong).unsqueeze(0), {});
  const at::Tensor wanted = model->logits(hidden.select(1, 0)).squeeze(0).softmax(0);
  constexpr int kDraws = 4000;
  std::vector<double> share(10);
  for (int draw = 0; draw < kDraws; ++draw) {
    const auto token = generated(*model, {2}, {.max_tokens = 1, .seed = uint64_t(draw)}).front();
    share[static_cast<size_t>(token)] += 1.0 / kDraws;
  }
  for (int64_t token = 0; token < 10; ++token)
    EXPECT_NEAR(share[static_cast<size_t>(token)], wanted[token].item<double>(), 0.03);
}

TEST(Generation, ChoosesAmongTheMostProbableOnly) {
  const auto model = small_model();
  const GenerationOptions first{.max_tokens = 12, .temperature = 5, .top_k = 1};
  EXPECT_EQ(generated(*model, {3}, first), most_probable(*model, {3}, 12));
}

TEST(Generation, SurvivesATinyTemperature) {
  const auto model = small_model();
  EXPECT_EQ(generated(*model, {3}, {.max_tokens = 12, .temperature = 1e-300}),
            most_probable(*model, {3}, 12));
}

TEST(Generation, StopsWhenTheCallerHasEnough) {
  const auto model = small_model();
  std::vector<int64_t> seen;
  const std::vector<int64_t> tokens =
      generate(*model, {3}, {.max_tokens = 100}, [&](int64_t token) {
        seen.push_back(token);
        return seen.size() < 3;
      });
  EXPECT_EQ(tokens.size(), 3u);
  EXPECT_EQ(tokens, seen);
}

TEST(Generation, WritesNothingWhenNothingIsAskedFor) {
  EXPECT_THAT(generated(*small_model(), {3}, {.max_tokens = 0}), ElementsAre());
}

TEST(Generation, RefusesAnEmptyPrompt) {
  EXPECT_EQ(refusal(*small_model(), {}, {}), "the prompt is empty; give at least one token");
}

TEST(Generation, RefusesATokenOutsideTheVocabulary) {
  EXPECT_EQ(refusal(*small_model(), {3, 10}, {}),
            "the token 10 is not in the vocabulary: tokens are 0 to 9");
}

TEST(Generation, RefusesOptionsOutOfRange) {
  const auto model = small_model();
  EXPECT_THAT(refusal(*model, {3}, {.max_tokens = -1}), HasSubstr("number of new tokens"));
  EXPECT_THAT(refusal(*model, {3}, {.temperature = -1}), HasSubstr("temperature must be at least"));
  EXPECT_THAT(refusal(*model, {3}, {.top_k = -1}), HasSubstr("top-k must be at least 0"));
}

TEST(Generation, GoesToTheEndOfLearnedPositionsAndNoFurther) {
  ModelRecipe recipe = small_recipe();
  recipe.positions = {PositionsKind::learned, 8};
  const auto model = small_model(recipe);
  EXPECT_EQ(generated(*model, {1, 2, 3}, {.max_tokens = 6}).size(), 6u);
  EXPECT_THAT(
      refusal(*model, {1, 2, 3}, {.max_tokens = 7}),
      HasSubstr("the model has learned positions for 8 tokens, but the prompt has 3 and 7"));
}

TEST(Generation, RefusesAModelThatReadsItsPrefixAtOnce) {
  struct Whole final : Mixer {
    Whole(const RunningSumOptions&, const Place& place) : Mixer(place) {
      traits_.causal = false;
      traits_.needs_prefix = true;
    }
    const Traits& traits() const override { return traits_; }
    int64_t flops(int64_t, int64_t) const override { return 0; }
    at::Tensor forward(const at::Tensor& x, const Span&) override { return x; }
    Traits traits_;
  };
  Registry registry;
  registry.add_mixer<Whole, RunningSumOptions>("running_sum", "reads a prefix");
  Model model(small_recipe(), registry, at::TensorOptions().dtype(at::kFloat), at::kFloat);
  EXPECT_THAT(refusal(model, {1}, {}), HasSubstr("reads its whole prefix at once"));
}

TEST(Generation, SaysThatTheModelsOutputIsNotFinite) {
  const auto model = small_model();
  model->parameters()[0].value().detach().fill_(std::numeric_limits<double>::quiet_NaN());
  try {
    generated(*model, {1}, {});
    FAIL();
  } catch (const Error& failure) {
    EXPECT_THAT(failure.what(), HasSubstr("the model's output is not finite"));
  }
}

}  // namespace
}  // namespace echo
