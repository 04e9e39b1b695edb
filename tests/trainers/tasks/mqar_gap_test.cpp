#include "trainers/tasks/mqar_gap/mqar_gap.h"

#include "tests/trainers/tasks/chi_square.h"

#include <echo/error.h>

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {

namespace {

using ::testing::HasSubstr;

constexpr int64_t kSamples = 1000;

struct Setting {
  int64_t pairs, gap, vocabulary;
};

MqarGap task(const Setting& setting, uint64_t seed = 1) {
  MqarGapOptions options;
  options.pairs = setting.pairs;
  options.gap = setting.gap;
  options.synthetic.vocabulary = setting.vocabulary;
  options.complete(TaskPlace{});
  return MqarGap(options, TaskPlace{.seed = seed});
}

std::vector<int64_t> values(const at::Tensor& row) {
  const at::Tensor data = row.contiguous();
  return {data.const_data_ptr<int64_t>(), data.const_data_ptr<int64_t>() + data.numel()};
}

std::string name_of(const ::testing::TestParamInfo<Setting>& info) {
  return std::to_string(info.param.pairs) + "PairsGap" + std::to_string(info.param.gap) + "V" +
         std::to_string(info.param.vocabulary);
}

class MqarGapTest : public ::testing::TestWithParam<Setting> {};

// Sees the inputs only: after a Q it answers what followed the first occurrence of the key.
std::map<int64_t, int64_t> solve(const std::vector<int64_t>& inputs) {
  std::map<int64_t, int64_t> answers;  // by position
  for (size_t t = 1; t < inputs.size(); ++t) {
    if (inputs[t - 1] != token::kQuery) continue;
    size_t first = 0;
    while (inputs[first] != inputs[t]) ++first;
    answers[static_cast<int64_t>(t)] = inputs[first + 1];
  }
  return answers;
}

TEST_P(MqarGapTest, CanBeSolvedFromItsInputs) {
  const Batch batch = task(GetParam()).batch(Split::test, 0, kSamples);
  for (int64_t row = 0; row < kSamples; ++row) {
    std::map<int64_t, int64_t> labels;
    const std::vector<int64_t> all = values(batch.labels[row]);
    for (size_t t = 0; t < all.size(); ++t) {
      if (all[t] != -100) labels[static_cast<int64_t>(t)] = all[t];
    }
    ASSERT_EQ(solve(values(batch.inputs[row])), labels) << "sample " << row;
  }
}

TEST_P(MqarGapTest, GivesAKeyBlindReaderItsLevel) {
  const Setting& setting = GetParam();
  const Batch batch = task(setting).batch(Split::test, 0, kSamples);
  std::mt19937 engine(3);
  int64_t right = 0;
  for (int64_t row = 0; row < kSamples; ++row) {
    const std::vector<int64_t> inputs = values(batch.inputs[row]);
    for (const int64_t label : values(batch.labels[row])) {
      if (label == -100) continue;
      right += label == inputs[2 * (engine() % setting.pairs) + 1];
    }
  }
  const double count = static_cast<double>(kSamples * setting.pairs);
  const double level = task(setting).info().levels.at("key-blind");
  const double error = std::sqrt(level * (1 - level) / count);
  EXPECT_NEAR(static_cast<double>(right) / count, level, 4 * error);
}

TEST_P(MqarGapTest, HasItsForm) {
  const Setting& setting = GetParam();
  const MqarGap made = task(setting);
  const Alphabet alphabet{setting.vocabulary};
  const Batch batch = made.batch(Split::train, 0, kSamples);
  EXPECT_EQ(batch.inputs.size(1), 4 * setting.pairs + setting.gap);
  EXPECT_EQ(batch.inputs.size(1), made.info().length);
  EXPECT_GE(batch.inputs.min().item<int64_t>(), 0);
  EXPECT_LT(batch.inputs.max().item<int64_t>(), setting.vocabulary);
  const int64_t first_query = 2 * setting.pairs + setting.gap;
  const at::Tensor keys = batch.inputs.slice(1, first_query + 1, {}, 2);
  const at::Tensor answers = batch.labels.slice(1, first_query + 1, {}, 2);
  EXPECT_TRUE((batch.inputs.slice(1, first_query, {}, 2) == token::kQuery).all().item<bool>());
  EXPECT_TRUE((keys >= alphabet.first_key()).all().item<bool>());
  EXPECT_TRUE((keys < alphabet.first_value()).all().item<bool>());
  EXPECT_TRUE((answers >= alphabet.first_value()).all().item<bool>());
  EXPECT_TRUE((answers < alphabet.first_filler()).all().item<bool>());
  EXPECT_EQ((batch.labels != -100).sum().item<int64_t>(), kSamples * setting.pairs);
  const at::Tensor gap = batch.inputs.slice(1, 2 * setting.pairs, first_query);
  EXPECT_TRUE((gap >= alphabet.first_filler()).all().item<bool>());
  EXPECT_TRUE(batch.prefix.slice(1, 0, first_query).all().item<bool>());
  EXPECT_FALSE(batch.prefix.slice(1, first_query).any().item<bool>());
}

TEST_P(MqarGapTest, ShowsNoValueFromTheFirstQueryOn) {
  const Setting& setting = GetParam();
  const Alphabet alphabet{setting.vocabulary};
  const Batch batch = task(setting).batch(Split::train, 0, kSamples);
  const at::Tensor tail = batch.inputs.slice(1, 2 * setting.pairs + setting.gap);
  EXPECT_TRUE((tail < alphabet.first_value()).all().item<bool>());
}

TEST_P(MqarGapTest, HasAnswersThatAreUniformOverTheirPool) {
  const Setting& setting = GetParam();
  const Batch batch = task(setting).batch(Split::train, 0, 5 * kSamples);
  std::map<int64_t, int64_t> first_labels;
  for (const int64_t label : values(batch.labels.select(1, 2 * setting.pairs + setting.gap + 1)))
    ++first_labels[label];
  EXPECT_TRUE(testing::looks_uniform(first_labels, setting.vocabulary / 4));
}

INSTANTIATE_TEST_SUITE_P(Settings, MqarGapTest,
                         ::testing::Values(Setting{4, 64, 128}, Setting{32, 256, 128},
                                           Setting{4, 64, 512}, Setting{1, 0, 64}),
                         name_of);

TEST(MqarGapStreams, GiveTheSameSampleForTheSameCoordinates) {
  const Batch all = task({4, 16, 128}).batch(Split::train, 0, 10);
  const Batch part = task({4, 16, 128}).batch(Split::train, 6, 3);
  EXPECT_TRUE(at::equal(all.inputs.slice(0, 6, 9), part.inputs));
  EXPECT_TRUE(at::equal(all.labels.slice(0, 6, 9), part.labels));
}

TEST(MqarGapStreams, GiveAnotherSampleForAnotherSplitSeedOrIndex) {
  const MqarGap made = task({4, 16, 128});
  const at::Tensor one = made.batch(Split::train, 0, 1).inputs;
  EXPECT_FALSE(at::equal(one, made.batch(Split::train, 1, 1).inputs));
  EXPECT_FALSE(at::equal(one, made.batch(Split::validation, 0, 1).inputs));
  EXPECT_FALSE(at::equal(one, made.batch(Split::test, 0, 1).inputs));
  EXPECT_FALSE(at::equal(one, task({4, 16, 128}, 2).batch(Split::train, 0, 1).inputs));
}

TEST(MqarGap, KnowsItsSizesAndLevels) {
  const TaskInfo info = task({8, 100, 128}).info();
  EXPECT_EQ(info.vocabulary, 128);
  EXPECT_EQ(info.length, 132);
  EXPECT_EQ(info.train_samples, 0);
  EXPECT_EQ(info.validation_samples, 512);
  EXPECT_EQ(info.test_samples, 2000);
  EXPECT_TRUE(info.prefix);
  EXPECT_DOUBLE_EQ(info.levels.at("key-blind"), 0.125);
  EXPECT_DOUBLE_EQ(info.levels.at("uninformed"), 1.0 / 32);
}

TEST(MqarGap, TakesItsSeedBeforeTheRuns) {
  MqarGapOptions options;
  options.synthetic.seed = 7;
  const MqarGap own(options, TaskPlace{.seed = 1});
  EXPECT_TRUE(at::equal(own.batch(Split::train, 0, 2).inputs,
                        task({4, 64, 128}, 7).batch(Split::train, 0, 2).inputs));
}

TEST(MqarGap, ShowsPairsGapAndQueries) {
  const MqarGap made = task({2, 40, 128});
  const std::string text = made.show(made.batch(Split::train, 0, 1), 0);
  EXPECT_THAT(text,
              ::testing::MatchesRegex("k[0-9]+→v[0-9]+ k[0-9]+→v[0-9]+ …40… Q k[0-9]+\\?→v[0-9]+ Q "
                                      "k[0-9]+\\?→v[0-9]+"));
}

TEST(MqarGapOptions, RefuseMorePairsThanKeys) {
  try {
    task({33, 64, 128});
    FAIL() << "accepted";
  } catch (const FieldError& mistake) {
    EXPECT_EQ(mistake.field(), "pairs");
    EXPECT_THAT(mistake.what(), HasSubstr("has 32 keys"));
    EXPECT_THAT(mistake.what(), HasSubstr("a vocabulary of at least 132"));
  }
}

TEST(MqarGapOptions, RefuseAVocabularyThatIsNoMultipleOfFour) {
  try {
    task({4, 64, 130});
    FAIL() << "accepted";
  } catch (const FieldError& mistake) {
    EXPECT_EQ(mistake.field(), "vocabulary");
    EXPECT_THAT(mistake.what(), HasSubstr("take 132"));
  }
}

}  // namespace

}  // namespace echo
