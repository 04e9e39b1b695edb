#include "trainers/tasks/language_model/language_model.h"

#include <echo/error.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <unistd.h>
#include <vector>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace echo {

namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// A folder of its own for each test.
class LanguageModelTest : public ::testing::Test {
 protected:
  LanguageModelTest()
      : folder_(fs::temp_directory_path() /
                ("echo_language_model_" + std::to_string(::getpid()) + "_" +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~LanguageModelTest() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& content) const {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }

  // Byte i is i mod 251.
  std::string write_counter(const std::string& name, int64_t size) const {
    std::string content;
    for (int64_t i = 0; i < size; ++i) content += static_cast<char>(i % 251);
    return write(name, content);
  }

  static LanguageModelOptions options(const std::string& text, int64_t length) {
    LanguageModelOptions options;
    options.text = text;
    options.length = length;
    return options;
  }

  static LanguageModel prepared(const LanguageModelOptions& options, uint64_t seed = 1) {
    LanguageModel task(options, TaskPlace{.seed = seed});
    task.prepare();
    return task;
  }

  static std::string refusal(const LanguageModelOptions& options) {
    try {
      prepared(options);
    } catch (const FieldError& mistake) {
      EXPECT_EQ(mistake.field(), "text");
      return mistake.what();
    }
    return "";
  }

  fs::path folder_;
};

std::vector<int64_t> values(const at::Tensor& row) {
  const at::Tensor data = row.contiguous();
  return {data.const_data_ptr<int64_t>(), data.const_data_ptr<int64_t>() + data.numel()};
}

std::string read(const Text& text, int64_t first, int64_t count) {
  std::vector<uint8_t> bytes(count);
  text.read(first, count, bytes.data());
  return {bytes.begin(), bytes.end()};
}

// Gives every scored byte one nat, and remembers which labels it was shown.
class OneNat final : public Evaluator {
 public:
  int64_t batch_size() const override { return 3; }
  Result score(const Batch& batch) override {
    const at::Tensor scored = batch.labels != -100;
    for (const int64_t label : values(batch.labels)) {
      if (label != -100) labels.push_back(label);
    }
    return {-scored.to(at::kFloat), at::where(scored, 0, -100).to(at::kLong)};
  }
  void progress(int64_t done, int64_t total) override {
    last_done = done;
    last_total = total;
  }

  std::vector<int64_t> labels;
  int64_t last_done = 0;
  int64_t last_total = 0;
};

// The text.

TEST_F(LanguageModelTest, JoinsTheFilesOfAFolderInTheOrderOfTheirPaths) {
  write("b.txt", "second");
  write("a.txt", "first");
  write("c/d.txt", "third");
  write("b.txt.empty", "");
  const Text text(folder_.string());
  EXPECT_EQ(text.size(), 16);
  EXPECT_EQ(read(text, 0, 16), "firstsecondthird");
  EXPECT_EQ(read(text, 4, 8), "tsecondt");
  EXPECT_EQ(read(text, 15, 1), "d");
  EXPECT_EQ(read(text, 16, 0), "");
}

TEST_F(LanguageModelTest, TellsTextsApartByTheirBytes) {
  const std::string one = Text(write("a/x.txt", "first")).sha256();
  const std::string folder = (folder_ / "a").string();
  EXPECT_EQ(one, "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e");
  EXPECT_EQ(Text(folder).sha256(), one);
  write("a/y.txt", "second");
  const std::string two = Text(folder).sha256();
  write("a/y.txt", "sec0nd");
  EXPECT_NE(Text(folder).sha256(), two);
}

TEST_F(LanguageModelTest, ReadsBeyondTwoGibibytes) {
  const std::string path = write("large", "");
  const int64_t size = (int64_t{5} << 30);
  fs::resize_file(path, size);  // a hole, that takes no room on the disk
  {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(size - 3);
    file << "end";
  }
  LanguageModelOptions large = options(path, 64);
  large.test_samples = 0;
  const LanguageModel task = prepared(large);
  const Batch last = task.batch(Split::test, task.info().test_samples - 1, 1);
  EXPECT_EQ(task.decode(values(last.labels[0].slice(0, 61))), "end");
  EXPECT_GT(task.info().train_samples * 64, int64_t{4} << 30);
  EXPECT_EQ(values(task.batch(Split::train, 123456789012, 1).inputs[0]),
            std::vector<int64_t>(64, 0));
}

TEST_F(LanguageModelTest, TakesBytesThatAreNoUtf8) {
  std::string content;
  for (int i = 0; i < 512; ++i) content += static_cast<char>(255 - i % 256);
  LanguageModelOptions bytes = options(write("bytes", content), 16);
  const Batch batch = prepared(bytes).batch(Split::train, 0, 20);
  EXPECT_GE(batch.inputs.min().item<int64_t>(), 0);
  EXPECT_GT(batch.inputs.max().item<int64_t>(), 200);
}

TEST_F(LanguageModelTest, NamesAFileThatIsNearAMissingOne) {
  write("genesis.txt", "x");
  const std::string message = refusal(options((folder_ / "genesys.txt").string(), 4));
  EXPECT_THAT(message, HasSubstr("there is no file or folder " + folder_.string()));
  EXPECT_THAT(message, HasSubstr("did you mean 'genesis.txt'?"));
}

TEST_F(LanguageModelTest, SaysHowAnyOtherTextIsTaken) {
  EXPECT_THAT(refusal(options((folder_ / "nowhere").string(), 4)),
              HasSubstr("any other text is taken with --set task.text=PATH"));
}

TEST_F(LanguageModelTest, SaysHowAFetchedTextIsWritten) {
  const std::string message = refusal(options((folder_ / ".echo/data/bible-kjv.txt").string(), 4));
  EXPECT_THAT(message, HasSubstr("write it with `tools/fetch_text bible-kjv.txt`"));
  EXPECT_THAT(message, HasSubstr("--set task.text=PATH"));
}

TEST_F(LanguageModelTest, RefusesAnEmptyFile) {
  EXPECT_THAT(refusal(options(write("empty", ""), 4)), HasSubstr("is empty"));
}

TEST_F(LanguageModelTest, RefusesAFolderWithoutFiles) {
  fs::create_directories(folder_ / "sub/sub");
  EXPECT_THAT(refusal(options(folder_.string(), 4)), HasSubstr("holds no file"));
}

TEST_F(LanguageModelTest, RefusesADevice) {
  EXPECT_THAT(refusal(options("/dev/null", 4)), HasSubstr("neither a file nor a folder"));
}

TEST_F(LanguageModelTest, NamesTheReasonWhyAPathCannotBeRead) {
  fs::create_symlink("loop", folder_ / "loop");
  EXPECT_THAT(refusal(options((folder_ / "loop").string(), 4)),
              HasSubstr("Too many levels of symbolic links"));
}

TEST_F(LanguageModelTest, RefusesAFileWithoutPermission) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const std::string path = write("secret", "0123456789");
  ::chmod(path.c_str(), 0);
  EXPECT_THAT(refusal(options(path, 4)), HasSubstr("Permission denied"));
}

TEST_F(LanguageModelTest, SaysHowManyBytesAreNeeded) {
  for (const double share : {0.0, 0.05, 0.1, 0.37, 0.9}) {
    LanguageModelOptions wanted = options(write_counter("text", 10), 100);
    wanted.held_out = share;
    const std::string message = refusal(wanted);
    const std::string before = "needs at least ";
    const int64_t needed = std::stoll(message.substr(message.find(before) + before.size()));
    write_counter("text", needed - 1);
    EXPECT_THAT(refusal(wanted), HasSubstr("holds " + std::to_string(needed - 1) + " bytes"));
    write_counter("text", needed);
    EXPECT_EQ(refusal(wanted), "") << share;
  }
}

TEST_F(LanguageModelTest, NoticesATextThatBecomesShorter) {
  const std::string path = write_counter("text", 1000);
  const LanguageModel task = prepared(options(path, 16));
  fs::resize_file(path, 10);
  try {
    task.batch(Split::test, 0, 1);
    FAIL() << "read";
  } catch (const Error& mistake) {
    EXPECT_THAT(mistake.what(), HasSubstr("has become shorter"));
  }
}

// Training samples.

TEST_F(LanguageModelTest, LabelsEveryByteWithTheNext) {
  const LanguageModel task = prepared(options(write_counter("text", 5000), 32));
  const Batch batch = task.batch(Split::train, 0, 50);
  EXPECT_EQ(batch.inputs.size(1), 32);
  EXPECT_TRUE(((batch.inputs + 1) % 251 == batch.labels).all().item<bool>());
}

TEST_F(LanguageModelTest, ReadsNearlyEveryTrainingByteOnceAnEpoch) {
  LanguageModelOptions wanted = options(write_counter("text", 251), 8);  // every byte is distinct
  wanted.held_out = 0;
  const LanguageModel task = prepared(wanted);
  const int64_t windows = task.info().train_samples;
  EXPECT_EQ(windows, 251 / 8 - 1);
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    const at::Tensor inputs = task.batch(Split::train, epoch * windows, windows).inputs;
    const std::vector<int64_t> all = values(inputs);
    const std::set<int64_t> distinct(all.begin(), all.end());
    ASSERT_EQ(distinct.size(), all.size()) << "epoch " << epoch;
    ASSERT_EQ(*distinct.rbegin() - *distinct.begin() + 1, static_cast<int64_t>(all.size()));
  }
}

TEST_F(LanguageModelTest, BeginsEveryEpochElsewhereInAnotherOrder) {
  const LanguageModel task = prepared(options(write_counter("text", 5000), 32));
  const int64_t windows = task.info().train_samples;
  std::set<std::vector<int64_t>> first_bytes;
  for (int64_t epoch = 0; epoch < 10; ++epoch) {
    const Batch batch = task.batch(Split::train, epoch * windows, 4);
    first_bytes.insert(values(batch.inputs.select(1, 0)));
  }
  EXPECT_EQ(first_bytes.size(), 10u);
}

TEST_F(LanguageModelTest, MakesASampleFromItsCoordinatesOnly) {
  const LanguageModelOptions wanted = options(write_counter("text", 5000), 32);
  const Batch all = prepared(wanted).batch(Split::train, 100, 8);
  const Batch part = prepared(wanted).batch(Split::train, 103, 2);
  EXPECT_TRUE(at::equal(all.inputs.slice(0, 3, 5), part.inputs));
  const Batch other = prepared(wanted, 2).batch(Split::train, 100, 8);
  EXPECT_FALSE(at::equal(all.inputs, other.inputs));
}

TEST_F(LanguageModelTest, NeverTrainsOnHeldOutBytes) {
  std::string content(900, 'a');
  content += std::string(100, 'b');
  const LanguageModel task = prepared(options(write("text", content), 16));
  const Batch batch = task.batch(Split::train, 0, 2000);
  EXPECT_TRUE((batch.labels == 'a').all().item<bool>());
}

TEST_F(LanguageModelTest, TrainsOnATextOfTheLeastLength) {
  LanguageModelOptions wanted = options(write("text", "abcdefghi"), 8);
  wanted.held_out = 0;
  const LanguageModel task = prepared(wanted);
  EXPECT_EQ(task.info().train_samples, 1);
  EXPECT_EQ(task.info().validation_samples, 0);
  EXPECT_EQ(task.decode(values(task.batch(Split::train, 7, 1).labels[0])), "bcdefghi");
}

// Held-out splits.

TEST_F(LanguageModelTest, ScoresEveryHeldOutByteOnceInOrder) {
  for (const int64_t length : {1, 2, 7, 16}) {
    for (const int64_t context : {int64_t{0}, length / 2, length - 1}) {
      LanguageModelOptions wanted = options(write_counter("text", 1000), length);
      wanted.context = context;
      wanted.validation_samples = 0;
      wanted.test_samples = 0;
      const LanguageModel task = prepared(wanted);
      OneNat validation, test;
      task.evaluate(validation, Split::validation);
      const Scores scores = task.evaluate(test, Split::test);
      std::vector<int64_t> expected;
      for (int64_t i = 900; i < 1000; ++i) expected.push_back(i % 251);
      std::vector<int64_t> scored = validation.labels;
      scored.insert(scored.end(), test.labels.begin(), test.labels.end());
      EXPECT_EQ(scored, expected) << length << " " << context;
      EXPECT_DOUBLE_EQ(scores.at("share_scored").mean(), 1);
      EXPECT_DOUBLE_EQ(scores.at("loss").count, 50);
    }
  }
}

TEST_F(LanguageModelTest, GivesEveryScoredByteItsContext) {
  LanguageModelOptions wanted = options(write_counter("text", 1000), 16);
  wanted.context = 10;
  const LanguageModel task = prepared(wanted);
  const Batch batch = task.batch(Split::validation, 0, task.info().validation_samples);
  EXPECT_TRUE((batch.labels.slice(1, 0, 10) == -100).all().item<bool>());
  EXPECT_TRUE((batch.labels.slice(1, 15) != -100).all().item<bool>());
  const at::Tensor next = (batch.inputs + 1) % 251;
  EXPECT_TRUE(((batch.labels == -100) | (batch.labels == next)).all().item<bool>());
}

TEST_F(LanguageModelTest, SpreadsFewWindowsOverTheWholeSplit) {
  LanguageModelOptions wanted = options(write_counter("text", 2000), 10);
  wanted.context = 0;
  wanted.held_out = 0.2;
  wanted.test_samples = 4;  // of 20
  const LanguageModel task = prepared(wanted);
  EXPECT_EQ(task.info().test_samples, 4);
  OneNat model;
  const Scores scores = task.evaluate(model, Split::test);
  std::vector<int64_t> expected;
  for (const int64_t first : {1800, 1850, 1900, 1950}) {
    for (int64_t i = 0; i < 10; ++i) expected.push_back((first + i) % 251);
  }
  EXPECT_EQ(model.labels, expected);
  EXPECT_DOUBLE_EQ(scores.at("share_scored").mean(), 0.2);
}

TEST_F(LanguageModelTest, ScoresBitsPerByte) {
  const LanguageModel task = prepared(options(write_counter("text", 3000), 16));
  OneNat model;
  const Scores scores = task.evaluate(model, Split::validation);
  EXPECT_NEAR(scores.at("loss").mean(), 1, 1e-12);
  EXPECT_NEAR(scores.at("bits_per_byte").mean(), 1 / std::log(2.0), 1e-12);
  EXPECT_EQ(scores.count("accuracy"), 0u);
  EXPECT_EQ(model.last_done, model.last_total);
  EXPECT_EQ(model.last_total, task.info().validation_samples);
}

// The rest.

TEST_F(LanguageModelTest, KnowsItsVocabularyBeforeItReadsTheText) {
  const LanguageModel task(options("nowhere", 32), TaskPlace{});
  EXPECT_EQ(task.info().vocabulary, 256);
  EXPECT_EQ(task.info().metric, "bits_per_byte");
  EXPECT_FALSE(task.info().prefix);
  EXPECT_EQ(task.decode(task.encode("ab\xff")), "ab\xff");
}

TEST_F(LanguageModelTest, RefusesToDecodeATokenThatIsNoByte) {
  const LanguageModel task(options("nowhere", 32), TaskPlace{});
  EXPECT_THROW(task.decode({65, 256}), Error);
  EXPECT_THROW(task.decode({-1}), Error);
}

TEST_F(LanguageModelTest, ShowsTextWithItsControlCharacters) {
  LanguageModelOptions wanted = options(write("text", "one\ttwo\x1b!x"), 9);
  wanted.held_out = 0;
  const LanguageModel task = prepared(wanted);
  const std::string text = task.show(task.batch(Split::train, 0, 1), 0);
  EXPECT_THAT(text, HasSubstr("ne␉two␛"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST_F(LanguageModelTest, ShowsTheEndsOfALongSample) {
  const LanguageModel task = prepared(options(write("text", std::string(5000, 'x')), 1000));
  const std::string text = task.show(task.batch(Split::train, 0, 1), 0);
  EXPECT_EQ(text, std::string(240, 'x') + "\n… 520 bytes …\n" + std::string(240, 'x'));
}

TEST(LanguageModelOptions, NeedAText) {
  try {
    LanguageModelOptions().complete(TaskPlace{});
    FAIL() << "accepted";
  } catch (const FieldError& mistake) {
    EXPECT_EQ(mistake.field(), "text");
    EXPECT_THAT(mistake.what(), HasSubstr("name a file or a folder"));
  }
}

TEST(LanguageModelOptions, RefuseAContextAsLongAsTheSample) {
  LanguageModelOptions options;
  options.text = "x";
  options.context = 256;
  try {
    options.complete(TaskPlace{});
    FAIL() << "accepted";
  } catch (const FieldError& mistake) {
    EXPECT_EQ(mistake.field(), "context");
    EXPECT_THAT(mistake.what(), HasSubstr("smaller than length (256)"));
  }
}

}  // namespace

}  // namespace echo
