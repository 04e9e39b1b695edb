#include "trainers/tasks/mqar/mqar.h"

#include <echo/error.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {

namespace {

using ::testing::HasSubstr;

MqarOptions small() {
  MqarOptions options;
  options.vocabulary = 256;
  return options;
}

// Two training segments and three test segments of different shapes.
MqarOptions segmented(MqarOrder order) {
  MqarOptions options = small();
  options.segments.train = {{32, 2, 10}, {64, 4, 7}};
  options.segments.test = {{32, 2, 5}, {64, 4, 6}, {64, 8, 7}};
  options.seed = 123;
  options.order = order;
  return options;
}

std::vector<int64_t> values(const at::Tensor& row) {
  const at::Tensor data = row.contiguous();
  return {data.const_data_ptr<int64_t>(), data.const_data_ptr<int64_t>() + data.numel()};
}

bool equal(const Batch& a, const Batch& b) {
  return at::equal(a.inputs, b.inputs) && at::equal(a.labels, b.labels);
}

// The properties of every row, whatever its shape and seed.
void expect_mqar_row(const std::vector<int64_t>& inputs, const std::vector<int64_t>& labels,
                     int64_t vocabulary, int64_t pairs) {
  const auto length = static_cast<int64_t>(inputs.size());
  std::map<int64_t, int64_t> context;
  std::set<int64_t> distinct_values;
  for (int64_t i = 0; i < pairs; ++i) {
    const int64_t key = inputs[2 * i];
    const int64_t value = inputs[2 * i + 1];
    EXPECT_TRUE(key >= 1 && key < vocabulary / 2) << key;
    EXPECT_TRUE(value >= vocabulary / 2 && value < vocabulary) << value;
    context[key] = value;
    distinct_values.insert(value);
  }
  EXPECT_EQ(static_cast<int64_t>(context.size()), pairs);
  EXPECT_EQ(static_cast<int64_t>(distinct_values.size()), pairs);
  std::set<int64_t> asked;
  for (int64_t t = 0; t < length; ++t) {
    if (labels[t] == -100) continue;
    EXPECT_TRUE(t % 2 == 0 && t >= 2 * pairs && t <= length - 2) << t;
    EXPECT_EQ(labels[t], context.at(inputs[t]));
    asked.insert(inputs[t]);
  }
  EXPECT_EQ(static_cast<int64_t>(asked.size()), pairs);
}

void expect_field_error(MqarOptions options, const std::string& field, const std::string& part) {
  try {
    options.complete(TaskPlace{.seed = 1});
    FAIL() << "accepted";
  } catch (const FieldError& mistake) {
    EXPECT_EQ(mistake.field(), field);
    EXPECT_THAT(mistake.what(), HasSubstr(part));
  }
}

TEST(Mqar, HasThePropertiesOfEveryRowInEverySplit) {
  struct Case {
    int64_t vocabulary, length, pairs;
    double power;
  };
  for (const Case& c : {Case{8192, 64, 4, 0.01}, Case{65, 64, 16, 0.01}, Case{257, 128, 5, 2.0},
                        Case{5, 4, 1, 0.01}, Case{9000, 1024, 3, 1.0}}) {
    MqarOptions options;
    options.vocabulary = c.vocabulary;
    options.length = c.length;
    options.pairs = c.pairs;
    options.power = c.power;
    const Mqar task(options, TaskPlace{.seed = 5});
    for (const Split split : {Split::train, Split::validation, Split::test}) {
      const Batch batch = task.batch(split, 100, 20);
      for (int64_t row = 0; row < 20; ++row)
        expect_mqar_row(values(batch.inputs[row]), values(batch.labels[row]), c.vocabulary,
                        c.pairs);
    }
  }
}

TEST(Mqar, LeavesZerosWithoutFill) {
  MqarOptions options = small();
  options.fill = false;
  const Batch batch = Mqar(options, TaskPlace{}).batch(Split::train, 0, 10);
  EXPECT_TRUE(((batch.inputs == 0).sum(1) == 64 - 3 * 4).all().item<bool>());
}

TEST(Mqar, AsksAtEveryEvenPlaceWhenTheyAreJustEnough) {
  MqarOptions options = small();
  options.pairs = 16;
  options.power = 3;
  const Batch batch = Mqar(options, TaskPlace{}).batch(Split::train, 0, 10);
  for (int64_t t = 0; t < 64; ++t) {
    const bool asked = t >= 32 && t % 2 == 0;
    EXPECT_EQ((batch.labels.select(1, t) != -100).all().item<bool>(), asked) << t;
  }
}

TEST(Mqar, MarksTheContextAsPrefix) {
  const Batch batch = Mqar(small(), TaskPlace{}).batch(Split::train, 0, 3);
  EXPECT_TRUE(batch.prefix.slice(1, 0, 8).all().item<bool>());
  EXPECT_FALSE(batch.prefix.slice(1, 8).any().item<bool>());
  EXPECT_EQ(batch.prefix.scalar_type(), at::kBool);
}

TEST(Mqar, MakesAFreshSampleFromItsCoordinatesOnly) {
  const Mqar task(small(), TaskPlace{.seed = 3});
  const Batch all = task.batch(Split::train, 0, 8);
  const Batch part = Mqar(small(), TaskPlace{.seed = 3}).batch(Split::train, 5, 2);
  EXPECT_TRUE(at::equal(all.inputs.slice(0, 5, 7), part.inputs));
  EXPECT_TRUE(at::equal(all.labels.slice(0, 5, 7), part.labels));
}

TEST(Mqar, MakesAnotherSampleForAnotherCoordinate) {
  const Mqar task(small(), TaskPlace{.seed = 3});
  const Batch one = task.batch(Split::train, 0, 1);
  EXPECT_FALSE(equal(one, task.batch(Split::train, 1, 1)));
  EXPECT_FALSE(equal(one, task.batch(Split::validation, 0, 1)));
  EXPECT_FALSE(equal(one, task.batch(Split::test, 0, 1)));
  EXPECT_FALSE(equal(one, Mqar(small(), TaskPlace{.seed = 4}).batch(Split::train, 0, 1)));
}

TEST(Mqar, TakesItsSeedBeforeTheRuns) {
  MqarOptions options = small();
  options.seed = 3;
  const Batch own = Mqar(options, TaskPlace{.seed = 9}).batch(Split::train, 0, 4);
  EXPECT_TRUE(equal(own, Mqar(small(), TaskPlace{.seed = 3}).batch(Split::train, 0, 4)));
}

TEST(Mqar, GivesTheSameBatchInSeveralThreads) {
  MqarOptions options = small();
  options.samples = 500;  // drawn by whichever thread comes first
  const Mqar task(options, TaskPlace{.seed = 3});
  std::vector<Batch> batches(4);
  std::vector<std::thread> threads;
  for (Batch& batch : batches)
    threads.emplace_back([&] { batch = task.batch(Split::train, 10, 20); });
  for (std::thread& thread : threads) thread.join();
  for (const Batch& batch : batches) EXPECT_TRUE(equal(batch, batches[0]));
}

TEST(Mqar, ServesASetInItsOrderEveryEpoch) {
  MqarOptions options = small();
  options.samples = 10;
  const Mqar task(options, TaskPlace{.seed = 3, .batch = 4});
  EXPECT_EQ(task.info().train_samples, 10);
  const Batch twice = task.batch(Split::train, 0, 20);
  EXPECT_TRUE(at::equal(twice.inputs.slice(0, 0, 10), twice.inputs.slice(0, 10, 20)));
}

TEST(Mqar, KeepsTheTestOutOfASetsRows) {
  MqarOptions options = small();
  options.samples = 50;
  const Mqar task(options, TaskPlace{.seed = 3});
  std::set<std::vector<int64_t>> trained;
  for (int64_t i = 0; i < 50; ++i) trained.insert(values(task.batch(Split::train, i, 1).inputs[0]));
  for (int64_t i = 0; i < 50; ++i)
    EXPECT_EQ(trained.count(values(task.batch(Split::test, i, 1).inputs[0])), 0u);
}

TEST(Mqar, NamesItsLevels) {
  const TaskInfo info = Mqar(MqarOptions(), TaskPlace{}).info();
  EXPECT_DOUBLE_EQ(info.levels.at("key-blind"), 0.25);
  EXPECT_DOUBLE_EQ(info.levels.at("uninformed"), 1.0 / 4096);
  EXPECT_EQ(info.vocabulary, 8192);
  EXPECT_EQ(info.length, 64);
  EXPECT_EQ(info.train_samples, 0);
  EXPECT_EQ(info.metric, "accuracy");
  EXPECT_TRUE(info.prefix);
}

// Segments.

TEST(MqarSegments, TakeTheirSeedsFromOneStream) {
  MqarOptions options = small();
  options.seed = 123;
  options.segments.train = {{64, 4, 20}, {64, 4, 20}, {64, 4, 20}, {64, 4, 20}, {64, 4, 20}};
  options.segments.test = std::vector<MqarSegment>(7, {64, 4, 20});
  options.order = MqarOrder::zoology;
  const Mqar task(options, TaskPlace{});
  MqarOptions alone = small();
  alone.samples = 20;
  const std::vector<int64_t> train = {843828734, 914636141, 1228959102, 1840268610, 974319580};
  for (size_t i = 0; i < train.size(); ++i) {
    alone.seed = train[i];
    const auto first = static_cast<int64_t>(20 * i);
    EXPECT_TRUE(equal(task.batch(Split::train, first, 20),
                      Mqar(alone, TaskPlace{}).batch(Split::train, 0, 20)))
        << i;
  }
  const std::vector<int64_t> test = {2967327842, 2367878886, 3088727057, 3090095699,
                                     4256823402, 3964712059, 3350193721};
  for (size_t i = 0; i < test.size(); ++i) {
    alone.seed = test[i];
    const auto first = static_cast<int64_t>(20 * i);
    EXPECT_TRUE(equal(task.batch(Split::test, first, 20),
                      Mqar(alone, TaskPlace{}).batch(Split::train, 0, 20)))
        << i;
  }
}

TEST(MqarSegments, OfOneAndOneTakeTheSeedsOfTheSpecification) {
  MqarOptions options = small();
  options.seed = 123;
  options.segments.train = {{64, 4, 5}};
  options.segments.test = {{64, 4, 5}};
  const Mqar task(options, TaskPlace{});
  MqarOptions alone = small();
  alone.samples = 5;
  alone.seed = 3062119789;
  EXPECT_TRUE(
      equal(task.batch(Split::test, 0, 5), Mqar(alone, TaskPlace{}).batch(Split::train, 0, 5)));
}

TEST(MqarSegments, AreServedInOrderAndFillTheirLastBatchWithEmptyRows) {
  const Mqar task(segmented(MqarOrder::zoology), TaskPlace{.batch = 4});
  EXPECT_EQ(task.info().train_samples, 12 + 8);
  std::vector<int64_t> lengths;
  std::vector<int64_t> scored_rows;
  for (int64_t step = 0; step < 10; ++step) {
    const Batch batch = task.batch(Split::train, 4 * step, 4);
    lengths.push_back(batch.inputs.size(1));
    scored_rows.push_back((batch.labels != -100).any(1).sum().item<int64_t>());
  }
  EXPECT_EQ(lengths, (std::vector<int64_t>{32, 32, 32, 64, 64, 32, 32, 32, 64, 64}));
  EXPECT_EQ(scored_rows, (std::vector<int64_t>{4, 4, 2, 4, 3, 4, 4, 2, 4, 3}));
}

TEST(MqarSegments, ServeEveryRowOnceAnEpochWhenShuffled) {
  const Mqar shuffled(segmented(MqarOrder::shuffled), TaskPlace{.seed = 1, .batch = 4});
  const Mqar in_order(segmented(MqarOrder::zoology), TaskPlace{.seed = 1, .batch = 4});
  const auto rows = [](const Mqar& task, int64_t epoch) {
    std::multiset<std::vector<int64_t>> rows;
    for (int64_t i = 0; i < 20; ++i)
      rows.insert(values(task.batch(Split::train, 20 * epoch + i, 1).inputs[0]));
    return rows;
  };
  EXPECT_EQ(rows(shuffled, 0), rows(in_order, 0));
  EXPECT_EQ(rows(shuffled, 7), rows(in_order, 0));
}

TEST(MqarSegments, AreShuffledByTheRunsSeedAnewEveryEpoch) {
  const auto lengths = [](uint64_t seed, int64_t epoch) {
    MqarOptions options = segmented(MqarOrder::shuffled);
    options.segments.train = {{32, 2, 40}, {64, 4, 40}};
    const Mqar task(options, TaskPlace{.seed = seed, .batch = 4});
    std::vector<int64_t> lengths;
    for (int64_t step = 0; step < 20; ++step)
      lengths.push_back(task.batch(Split::train, 4 * (20 * epoch + step), 4).inputs.size(1));
    return lengths;
  };
  EXPECT_EQ(lengths(1, 0), lengths(1, 0));
  EXPECT_NE(lengths(1, 0), lengths(1, 1));
  EXPECT_NE(lengths(1, 0), lengths(2, 0));
}

TEST(MqarSegments, NeverMixLengthsInOneBatch) {
  const Mqar task(segmented(MqarOrder::zoology), TaskPlace{.batch = 1});
  try {
    task.batch(Split::train, 8, 4);
    FAIL() << "mixed";
  } catch (const Error& mistake) {
    EXPECT_THAT(mistake.what(), HasSubstr("32 and 64 tokens"));
  }
}

TEST(MqarSegments, MakeValidationRowsOfTheShapesOfTheTest) {
  MqarOptions options = segmented(MqarOrder::shuffled);
  options.validation_samples = 8;
  const Mqar task(options, TaskPlace{});
  EXPECT_EQ(task.info().validation_samples, 8);
  std::vector<std::string> shapes;
  for (int64_t i = 0; i < 8; ++i) {
    const Batch batch = task.batch(Split::validation, i, 1);
    shapes.push_back(task.slice_name(batch.slice[0].item<int64_t>()));
  }
  EXPECT_EQ(shapes, (std::vector<std::string>{"32/2", "32/2", "64/4", "64/4", "64/4", "64/8",
                                              "64/8", "64/8"}));
}

TEST(MqarSegments, WeighTheirLevelsByTheirRows) {
  const TaskInfo info = Mqar(segmented(MqarOrder::shuffled), TaskPlace{}).info();
  EXPECT_DOUBLE_EQ(info.levels.at("key-blind"), (5 / 2.0 + 6 / 4.0 + 7 / 8.0) / 18);
  EXPECT_EQ(info.test_samples, 18);
  EXPECT_EQ(info.length, 64);
}

// Answers every query with the first value of the context, and counts what it was given.
class FirstValue final : public Evaluator {
 public:
  int64_t batch_size() const override { return 4; }
  Result score(const Batch& batch) override {
    lengths.push_back(batch.inputs.size(1));
    const at::Tensor scored = batch.labels != -100;
    const at::Tensor first = batch.inputs.slice(1, 1, 2).expand_as(batch.labels);
    return {at::zeros(batch.labels.sizes()), at::where(scored, first, -100)};
  }
  void progress(int64_t, int64_t) override {}

  std::vector<int64_t> lengths;
};

TEST(MqarSegments, AreScoredApartAndBySlice) {
  const Mqar task(segmented(MqarOrder::shuffled), TaskPlace{});
  FirstValue model;
  const Scores scores = task.evaluate(model, Split::test);
  EXPECT_EQ(model.lengths, (std::vector<int64_t>{32, 32, 64, 64, 64, 64}));
  EXPECT_DOUBLE_EQ(scores.at("accuracy/32/2").mean(), 0.5);
  EXPECT_DOUBLE_EQ(scores.at("accuracy/64/4").mean(), 0.25);
  EXPECT_DOUBLE_EQ(scores.at("accuracy/64/8").mean(), 0.125);
  EXPECT_DOUBLE_EQ(scores.at("accuracy/64/8").count, 7);
  EXPECT_DOUBLE_EQ(scores.at("accuracy").mean(), task.info().levels.at("key-blind"));
}

// Refusals.

TEST(MqarOptions, RefuseAnOddLength) {
  MqarOptions options = small();
  options.length = 65;
  expect_field_error(options, "length",
                     "65 is odd, but a row has an even number of tokens; take 64 or 66");
}

TEST(MqarOptions, RefuseAVocabularyThatIsNoLargerThanTheLength) {
  MqarOptions options = small();
  options.vocabulary = 64;
  expect_field_error(options, "vocabulary", "take at least 65");
}

TEST(MqarOptions, RefuseMorePairsThanFit) {
  MqarOptions options = small();
  options.pairs = 17;
  expect_field_error(options, "pairs", "room for 16");
}

TEST(MqarOptions, RefuseAPowerThatLeavesTooFewPlacesForQueries) {
  MqarOptions options = small();
  for (const double power : {400.0, 1e10, 1e308}) {
    options.power = power;
    expect_field_error(options, "power", "take a smaller power");
  }
}

TEST(MqarOptions, NameTheSegmentThatIsWrong) {
  MqarOptions options = segmented(MqarOrder::shuffled);
  options.segments.test[1].pairs = 40;
  expect_field_error(options, "segments.test.1.pairs", "room for 16");
}

TEST(MqarOptions, RefuseTwoTrainingSets) {
  MqarOptions options = segmented(MqarOrder::shuffled);
  options.samples = 5;
  expect_field_error(options, "samples", "take one of them");
}

TEST(MqarOptions, RefuseARunsSeedThatNoSetCanBeDrawnFrom) {
  MqarOptions options = small();
  options.samples = 5;
  try {
    options.complete(TaskPlace{.seed = uint64_t{1} << 40});
    FAIL() << "accepted";
  } catch (const FieldError& mistake) {
    EXPECT_EQ(mistake.field(), "seed");
    EXPECT_THAT(mistake.what(), HasSubstr("between 0 and 4294967295"));
  }
}

TEST(MqarOptions, AcceptWhatFits) {
  EXPECT_NO_THROW(MqarOptions().complete(TaskPlace{.seed = uint64_t{1} << 40}));
  EXPECT_NO_THROW(segmented(MqarOrder::shuffled).complete(TaskPlace{}));
}

TEST(Mqar, ShowsPairsQueriesAndHowMuchFillerThereIs) {
  MqarOptions options;
  options.vocabulary = 20;
  options.length = 16;
  options.pairs = 2;
  options.samples = 3;
  options.seed = 0;
  const Mqar task(options, TaskPlace{});
  EXPECT_EQ(task.show(task.batch(Split::train, 0, 3), 1),
            "context  k4→v5 k2→v2\nqueries  k4?→v5 …9… k2?→v2 …1…");
}

}  // namespace

}  // namespace echo
