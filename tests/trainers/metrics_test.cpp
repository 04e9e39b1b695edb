#include "trainers/metrics.h"

#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace testing_run;

TrainerState at_step(int64_t step, bool evaluated = true) {
  TrainerState state;
  state.step = step;
  state.evaluated = evaluated;
  return state;
}

TEST(Metrics, AppendsOneObjectPerLine) {
  const TemporaryFolder folder;
  MetricsWriter(folder / "m").write({{"step", 1}, {"loss", 0.1}});
  MetricsWriter(folder / "m").write({{"step", 2}});
  EXPECT_EQ(content(folder / "m"), "{\"step\":1,\"loss\":0.1}\n{\"step\":2}\n");
}

TEST(Metrics, KeepsEveryDigitOfANumber) {
  const TemporaryFolder folder;
  const double third = 1.0 / 3;
  MetricsWriter(folder / "m").write({{"loss", third}});
  EXPECT_EQ(nlohmann::json::parse(content(folder / "m"))["loss"].get<double>(), third);
}

TEST(Metrics, ForgetsTheLinesAfterACheckpoint) {
  const TemporaryFolder folder;
  write(folder / "m", "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"eval\":{}}\n{\"step\":3}\n");
  truncate_metrics(folder / "m", at_step(2));
  EXPECT_EQ(content(folder / "m"), "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"eval\":{}}\n");
}

TEST(Metrics, ForgetsALineThatWasCutOff) {
  const TemporaryFolder folder;
  write(folder / "m", "{\"step\":1}\n{\"step\":2}");
  truncate_metrics(folder / "m", at_step(5));
  EXPECT_EQ(content(folder / "m"), "{\"step\":1}\n");
}

TEST(Metrics, ForgetsAnEvaluationThatTheCheckpointHasStillAhead) {
  const TemporaryFolder folder;
  write(folder / "m", "{\"step\":1,\"eval\":{}}\n{\"step\":2}\n{\"step\":2,\"eval\":{}}\n");
  truncate_metrics(folder / "m", at_step(2, false));
  EXPECT_EQ(content(folder / "m"), "{\"step\":1,\"eval\":{}}\n{\"step\":2}\n");
}

TEST(Metrics, MakesAnEmptyFileOfNone) {
  const TemporaryFolder folder;
  truncate_metrics(folder / "m", at_step(0));
  EXPECT_EQ(content(folder / "m"), "");
  EXPECT_TRUE(fs::exists(folder / "m"));
}

TEST(Metrics, SaysWhichFileCannotBeWritten) {
  EXPECT_THAT(message_of<Error>([] { MetricsWriter("/proc/none/metrics.jsonl"); }),
              HasSubstr("cannot write /proc/none/metrics.jsonl: No such file or directory"));
}

TEST(Metrics, FailsWhereTheFileCannotGrow) {
  const TemporaryFolder folder;
  MetricsWriter metrics(folder / "m");
  const FileSizeLimit limit(0);
  EXPECT_THAT(message_of<Error>([&] {
                metrics.write({{"step", 1}});
              }),
              AllOf(HasSubstr("cannot write " + (folder / "m").string() + ": File too large"),
                    HasSubstr("--resume")));
}

}  // namespace
}  // namespace echo
