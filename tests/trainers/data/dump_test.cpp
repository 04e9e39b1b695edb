#include "trainers/data/dump.h"

#include "framework/src/files/safetensors.h"

#include <echo/error.h>

#include <filesystem>
#include <string>
#include <unistd.h>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {

namespace {

using ::testing::HasSubstr;

// Sample i holds i, i + 1, i + 2; from sample `longer` on one token more.
class Counting final : public Task {
 public:
  explicit Counting(int64_t longer = 1 << 30) : longer_(longer) {}
  TaskInfo info() const override {
    return {.vocabulary = 4096, .length = 4, .train_samples = 700, .test_samples = 5};
  }
  Batch batch(Split split, int64_t first, int64_t count) const override {
    const at::TensorOptions integers(at::kLong);
    const int64_t length = first < longer_ ? 3 : 4;
    const at::Tensor inputs = at::arange(first, first + count, integers).unsqueeze(1) +
                              at::arange(length, integers) + (split == Split::test ? 1000 : 0);
    return {.inputs = inputs, .labels = inputs + 1};
  }

 private:
  int64_t longer_;
};

class DumpTest : public ::testing::Test {
 protected:
  DumpTest()
      : path_(std::filesystem::temp_directory_path() /
              ("echo_dump_" + std::to_string(::getpid()) + ".safetensors")) {}
  ~DumpTest() override { std::filesystem::remove(path_); }

  std::filesystem::path path_;
};

TEST_F(DumpTest, WritesInputsAndLabelsInTheOrderOfTheSamples) {
  const Counting task;
  dump_task(task, Split::train, 700, path_, {{"kind", "counting"}});
  const NamedTensors file = read_safetensors(path_);
  const Batch all = task.batch(Split::train, 0, 700);
  EXPECT_TRUE(at::equal(file.tensors.at("inputs"), all.inputs));
  EXPECT_TRUE(at::equal(file.tensors.at("labels"), all.labels));
  EXPECT_EQ(file.tensors.at("inputs").scalar_type(), at::kLong);
  EXPECT_EQ(file.metadata.at("kind"), "counting");
  EXPECT_EQ(file.tensors.size(), 2u);
}

TEST_F(DumpTest, WritesTheSplitThatItIsAskedFor) {
  dump_task(Counting(), Split::test, 5, path_, {});
  EXPECT_EQ(read_safetensors(path_).tensors.at("inputs")[0][0].item<int64_t>(), 1000);
}

TEST_F(DumpTest, RefusesSamplesOfDifferentLengths) {
  try {
    dump_task(Counting(300), Split::train, 700, path_, {});
    FAIL() << "written";
  } catch (const Error& mistake) {
    EXPECT_THAT(mistake.what(), HasSubstr("has 4 tokens and the first one 3"));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST(DumpSamples, AreAllOfASplitThatEnds) {
  EXPECT_EQ(dump_samples(Counting().info(), Split::train), 700);
  EXPECT_EQ(dump_samples(Counting().info(), Split::test), 5);
}

TEST(DumpSamples, AreAThousandOfFreshData) {
  EXPECT_EQ(dump_samples(TaskInfo{.vocabulary = 2}, Split::train), 1000);
}

TEST(DumpSamples, AreRefusedForASplitThatIsNotThere) {
  try {
    dump_samples(Counting().info(), Split::validation);
    FAIL() << "accepted";
  } catch (const ConfigError& mistake) {
    EXPECT_STREQ(mistake.what(), "the task has no validation split");
  }
}

}  // namespace

}  // namespace echo
