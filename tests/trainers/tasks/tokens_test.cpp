#include "trainers/tasks/tokens/tokens.h"

#include "framework/src/files/safetensors.h"

#include <echo/error.h>

#include <filesystem>
#include <unistd.h>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using ::testing::HasSubstr;

class TokensTest : public testing::Test {
 protected:
  TokensTest()
      : file(testing::TempDir() + "echo-tokens-" + std::to_string(::getpid()) + ".safetensors") {}
  ~TokensTest() override { std::filesystem::remove(file); }

  std::unique_ptr<Tokens> task(const at::Tensor& tokens, int64_t length, double held_out = 0.2) {
    write_safetensors(file, {{{"tokens", tokens}}, {}});
    auto made = std::make_unique<Tokens>(
        TokensOptions{.file = file, .vocabulary = 100, .length = length, .held_out = held_out},
        TaskPlace{.seed = 3});
    made->prepare();
    return made;
  }
  std::string message(const at::Tensor& tokens, int64_t length = 4) {
    try {
      task(tokens, length);
    } catch (const FieldError& mistake) {
      return mistake.what();
    }
    return "";
  }
  std::string file;
};

TEST_F(TokensTest, LabelsEveryTokenWithTheNextOne) {
  const Batch batch = task(at::arange(100), 5)->batch(Split::validation, 0, 1);
  EXPECT_TRUE(at::equal(batch.inputs[0], at::arange(80, 85)));
  EXPECT_TRUE(at::equal(batch.labels[0], at::arange(81, 86)));
}

TEST_F(TokensTest, ServesEverySampleOnceInAnEpoch) {
  const auto made = task(at::arange(100), 5);
  ASSERT_EQ(made->info().train_samples, 15);
  const Batch epoch = made->batch(Split::train, 0, 15);
  const at::Tensor first = std::get<0>(epoch.inputs.select(1, 0).sort());
  EXPECT_TRUE(at::equal(first, at::arange(0, 75, 5)));
  EXPECT_FALSE(at::equal(epoch.inputs, made->batch(Split::train, 15, 15).inputs));
}

TEST_F(TokensTest, KeepsItsSplitsApart) {
  const auto made = task(at::arange(100), 4);
  EXPECT_EQ(made->info().validation_samples, 2);
  EXPECT_EQ(made->info().test_samples, 2);
  EXPECT_EQ(made->batch(Split::train, 0, 19).labels.max().item<int64_t>(), 76);
  EXPECT_EQ(made->batch(Split::test, 0, 2).inputs.min().item<int64_t>(), 90);
}

TEST_F(TokensTest, ReadsIntegersOfAnyWidth) {
  for (const at::ScalarType type : {at::kInt, at::kShort, at::kByte}) {
    const Batch batch = task(at::arange(50).to(type), 4)->batch(Split::train, 0, 1);
    EXPECT_EQ(batch.inputs.scalar_type(), at::kLong);
  }
}

TEST_F(TokensTest, SaysWhatIsWrongWithItsFile) {
  EXPECT_THAT(message(at::arange(101)), HasSubstr("holds the token 100; tokens are 0 to"));
  EXPECT_THAT(message(at::arange(50) - 1), HasSubstr("holds the token -1; tokens are 0 to"));
  EXPECT_THAT(message(at::arange(4)), HasSubstr("holds 4 tokens, but length 4 needs more"));
  EXPECT_THAT(message(at::ones({4, 4}, at::kLong)), HasSubstr("`tokens` is no row of integers"));
  EXPECT_THAT(message(at::ones({40})), HasSubstr("`tokens` is no row of integers"));
  EXPECT_THAT(message(at::arange(5)), HasSubstr("leaves no sample to train on"));
  write_safetensors(file, {{{"ids", at::arange(9)}}, {}});
  Tokens unprepared({.file = file}, {});
  EXPECT_THROW(unprepared.prepare(), FieldError);
}

TEST_F(TokensTest, WithoutAFileHasNoSamplesAndSaysSo) {
  Tokens task({.vocabulary = 7}, {});
  EXPECT_EQ(task.info().vocabulary, 7);
  EXPECT_EQ(task.info().train_samples, 0);
  EXPECT_FALSE(task.info().text);
  EXPECT_THROW(task.prepare(), FieldError);
}

}  // namespace
}  // namespace echo
