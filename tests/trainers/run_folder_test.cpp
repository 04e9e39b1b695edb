#include "trainers/run_folder.h"

#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using namespace testing_run;

struct RunFolderTest : testing::Test {
  void begin(const std::string& name) const {
    fs::create_directories(folder / name);
    write(folder / name / "recipe.yaml", "name: a\n");
  }
  void finish(const std::string& name) const {
    begin(name);
    write(folder / name / "summary.json", "{}\n");
  }
  RunFolder run(const std::string& name) const { return RunFolder(folder / name); }
  TemporaryFolder folder;
};

TEST_F(RunFolderTest, IsAbsentUntilItsRecipeIsThere) {
  EXPECT_EQ(run("a").stage(), RunStage::absent);
  fs::create_directories(folder / "a/checkpoints");
  write(folder / "a/environment.json", "{}");
  write(folder / "a/.lock", "1");
  write(folder / "a/recipe.yaml.tmp", "na");
  EXPECT_EQ(run("a").stage(), RunStage::absent);
}

TEST_F(RunFolderTest, PassesThroughItsStages) {
  begin("a");
  EXPECT_EQ(run("a").stage(), RunStage::begun);
  fs::create_directories(folder / "a/checkpoints/000100");
  EXPECT_EQ(run("a").stage(), RunStage::unfinished);
  finish("a");
  EXPECT_EQ(run("a").stage(), RunStage::finished);
}

TEST_F(RunFolderTest, OtherThingsAreForeign) {
  fs::create_directories(folder / "a");
  write(folder / "a/thesis.tex", "x");
  write(folder / "file", "x");
  EXPECT_EQ(run("a").stage(), RunStage::foreign);
  EXPECT_EQ(run("file").stage(), RunStage::foreign);
}

TEST_F(RunFolderTest, CountsOnAfterFinishedRuns) {
  EXPECT_EQ(run("a").first_unfinished().path(), folder / "a");
  finish("a");
  EXPECT_EQ(run("a").first_unfinished().path(), folder / "a-2");
  EXPECT_EQ(run("a/").first_unfinished().path(), folder / "a-2");
  finish("a-2");
  begin("a-3");
  EXPECT_EQ(run("a").first_unfinished().path(), folder / "a-3");
  EXPECT_EQ(run("a").last_existing().path(), folder / "a-3");
}

TEST_F(RunFolderTest, ASecondLockIsRefusedAndNamesTheProcess) {
  const RunLock lock(run("a"));
  EXPECT_THAT(message_of<Error>([&] { RunLock second(run("a")); }),
              AllOf(HasSubstr("the process " + std::to_string(::getpid()) + " trains in"),
                    HasSubstr("--run")));
}

TEST_F(RunFolderTest, ALockEndsWithItsOwner) {
  { const RunLock lock(run("a")); }
  EXPECT_NO_THROW(RunLock(run("a")));
}

TEST_F(RunFolderTest, SaysWhyAFolderCannotBeMade) {
  write(folder / "file", "x");
  EXPECT_THAT(message_of<Error>([&] { RunLock lock(run("file/a")); }),
              AllOf(HasSubstr("cannot create the run folder " + (folder / "file/a").string()),
                    HasSubstr("Not a directory"), HasSubstr("--run")));
}

}  // namespace
}  // namespace echo
