#include "trainers/checkpoint.h"

#include "framework/src/files/safetensors.h"
#include "tests/trainers/support.h"

#include <gmock/gmock.h>

namespace echo {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace testing_run;

struct Pair : Module {
  explicit Pair(double value) : Module(at::TensorOptions().dtype(at::kFloat)) {
    parameter("a", {2, 3}, init::constant(value));
    parameter("b", {4}, init::constant(value));
    initialize(*this, 0);
  }
};

struct CheckpointTest : testing::Test {
  CheckpointTest() { checkpoints.clean(); }

  static std::vector<Slot> slots_of(const Module& module) {
    std::vector<Slot> slots;
    for (const Parameter& parameter : module.parameters())
      slots.push_back({.name = parameter.name, .parameter = parameter.value()});
    return slots;
  }
  void save(int64_t step, double value = 1, int64_t keep = 10) const {
    const Pair module(value);
    std::vector<Slot> slots = slots_of(module);
    slots[0].state["exp_avg"] = at::full({2, 3}, value);
    slots[0].state["exp_avg_sq"] = at::full({2, 3}, -value);
    TrainerState state;
    state.step = step;
    checkpoints.save({module, slots, state, {{"recipe", "name: x\n"}}}, keep);
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder / "checkpoints"))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  TemporaryFolder folder;
  Checkpoints checkpoints{folder / "checkpoints"};
};

TEST_F(CheckpointTest, NamesFoldersBySixDigitsOfTheStep) {
  EXPECT_EQ(checkpoints.path(400).filename(), "000400");
  EXPECT_EQ(checkpoints.path(12345678).filename(), "12345678");
}

TEST_F(CheckpointTest, SavesThreeFilesAndMovesLatest) {
  save(400);
  EXPECT_THAT(entries(), ElementsAre("000400", "latest"));
  EXPECT_EQ(fs::read_symlink(folder / "checkpoints" / "latest"), "000400");
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(checkpoints.path(400)))
    files.push_back(entry.path().filename().string());
  EXPECT_THAT(files, testing::UnorderedElementsAre(kModelFile, kOptimizerFile, kTrainerFile));
  EXPECT_EQ(checkpoints.latest(), 400);
}

TEST_F(CheckpointTest, GivesBackEveryNumberOfTheState) {
  TrainerState state{.step = 7,
                     .tokens = int64_t{1} << 40,
                     .seconds = 0.1,
                     .training_seconds = 1.0 / 3,
                     .evaluated = false,
                     .steps_to_solve = 5,
                     .best = 0.7};
  const Pair module(1);
  checkpoints.save({module, {}, state, {}}, 1);
  const TrainerState read = verify_checkpoint(checkpoints.path(7));
  EXPECT_EQ(read.step, 7);
  EXPECT_EQ(read.tokens, int64_t{1} << 40);
  EXPECT_EQ(read.seconds, 0.1);
  EXPECT_EQ(read.training_seconds, 1.0 / 3);
  EXPECT_FALSE(read.evaluated);
  EXPECT_EQ(read.steps_to_solve, 5);
  EXPECT_EQ(read.best, 0.7);
}

TEST_F(CheckpointTest, GivesBackParametersAndOptimizerStates) {
  save(1, 2.5);
  Pair module(0);
  load_parameters(checkpoints.path(1), module);
  for (const Parameter& parameter : module.parameters())
    EXPECT_TRUE(parameter.value().eq(2.5).all().item<bool>()) << parameter.name;
  std::vector<Slot> slots = slots_of(module);
  load_optimizer(checkpoints.path(1), slots, AdamW({}, {}), module);
  EXPECT_TRUE(slots[0].state.at("exp_avg").eq(2.5).all().item<bool>());
  EXPECT_TRUE(slots[0].state.at("exp_avg_sq").eq(-2.5).all().item<bool>());
  EXPECT_TRUE(slots[1].state.empty());
}

TEST_F(CheckpointTest, WritesTheSameBytesForTheSameContent) {
  save(1);
  save(2);
  for (const char* name : {kModelFile, kOptimizerFile})
    EXPECT_EQ(content(checkpoints.path(1) / name), content(checkpoints.path(2) / name)) << name;
}

TEST_F(CheckpointTest, PutsMetadataIntoTheModelFile) {
  save(1);
  EXPECT_EQ(read_safetensors(checkpoints.path(1) / kModelFile).metadata.at("recipe"), "name: x\n");
}

TEST_F(CheckpointTest, KeepsTheLastOnes) {
  for (const int64_t step : {100, 200, 300, 400}) save(step, 1, 2);
  EXPECT_THAT(checkpoints.steps(), ElementsAre(300, 400));
}

TEST_F(CheckpointTest, ReplacesAFolderThatIsThereAlready) {
  save(100, 1);
  save(100, 2);
  Pair module(0);
  load_parameters(checkpoints.path(100), module);
  EXPECT_TRUE(module.parameters()[0].value().eq(2).all().item<bool>());
  EXPECT_THAT(entries(), ElementsAre("000100", "latest"));
}

TEST_F(CheckpointTest, CleanRemovesWhatAKilledProcessLeft) {
  save(100);
  fs::create_directory(folder / "checkpoints" / ".writing-000200");
  write(folder / "checkpoints" / ".writing-000200" / kModelFile, "half");
  fs::create_directory(folder / "checkpoints" / ".old-000050");
  fs::create_symlink("000200", folder / "checkpoints" / ".writing-latest");
  checkpoints.clean();
  EXPECT_THAT(entries(), ElementsAre("000100", "latest"));
}

TEST_F(CheckpointTest, LatestIsWhatTheLinkSaysEvenBesideANewerFolder) {
  save(100);
  save(200);
  fs::remove(folder / "checkpoints" / "latest");
  fs::create_symlink("000100", folder / "checkpoints" / "latest");
  EXPECT_EQ(checkpoints.latest(), 100);
}

TEST_F(CheckpointTest, LatestIsTheLastFolderWhereTheLinkPointsNowhere) {
  EXPECT_EQ(checkpoints.latest(), std::nullopt);
  save(100);
  save(200);
  fs::remove_all(checkpoints.path(200));
  EXPECT_EQ(checkpoints.latest(), 100);
}

TEST_F(CheckpointTest, RewindForgetsLaterSteps) {
  for (const int64_t step : {100, 200, 300}) save(step);
  checkpoints.rewind(100);
  EXPECT_THAT(entries(), ElementsAre("000100", "latest"));
  EXPECT_EQ(checkpoints.latest(), 100);
}

TEST_F(CheckpointTest, NamesTheFileOfWhichOneBitHasChanged) {
  save(100);
  for (const char* name : {kModelFile, kOptimizerFile}) {
    const fs::path file = checkpoints.path(100) / name;
    const std::string whole = content(file);
    std::string changed = whole;
    changed[changed.size() - 3] ^= 1;
    write(file, changed);
    EXPECT_THAT(message_of<Error>([&] { verify_checkpoint(checkpoints.path(100)); }),
                AllOf(HasSubstr(file.string()), HasSubstr("SHA-256")));
    write(file, whole);
  }
  EXPECT_EQ(verify_checkpoint(checkpoints.path(100)).step, 100);
}

TEST_F(CheckpointTest, NamesTheFileThatWasCutOff) {
  save(100);
  const fs::path file = checkpoints.path(100) / kModelFile;
  fs::resize_file(file, 50);
  EXPECT_THAT(message_of<Error>([&] { verify_checkpoint(checkpoints.path(100)); }),
              AllOf(HasSubstr(file.string() + " is damaged"), HasSubstr("50 bytes instead of")));
}

TEST_F(CheckpointTest, NamesTheFileThatIsMissing) {
  save(100);
  fs::remove(checkpoints.path(100) / kOptimizerFile);
  EXPECT_THAT(message_of<Error>([&] { verify_checkpoint(checkpoints.path(100)); }),
              HasSubstr("optimizer.safetensors is missing"));
  EXPECT_EQ(verify_checkpoint(checkpoints.path(100), CheckpointPart::model).step, 100);
}

TEST_F(CheckpointTest, NoticesAChangeInTrainerJsonItself) {
  save(100);
  const fs::path file = checkpoints.path(100) / kTrainerFile;
  std::string text = content(file);
  text.replace(text.find("\"step\": 100"), 11, "\"step\": 101");
  write(file, text);
  EXPECT_THAT(message_of<Error>([&] { verify_checkpoint(checkpoints.path(100)); }),
              HasSubstr("trainer.json is damaged"));
  write(file, "{\"step\": 1");
  EXPECT_THAT(message_of<Error>([&] { verify_checkpoint(checkpoints.path(100)); }),
              HasSubstr("trainer.json is damaged"));
  fs::remove(file);
  EXPECT_THAT(message_of<Error>([&] { verify_checkpoint(checkpoints.path(100)); }),
              HasSubstr("trainer.json is missing"));
}

struct Other : Module {
  explicit Other(int64_t rows) : Module(at::TensorOptions().dtype(at::kFloat)) {
    parameter("a", {rows, 3}, init::zeros());
    if (rows == 2) parameter("c", {4}, init::zeros());
    initialize(*this, 0);
  }
};

TEST_F(CheckpointTest, RefusesAModelOfOtherTensors) {
  save(100);
  const fs::path saved = checkpoints.path(100);
  Other unknown(2), shape(5);
  EXPECT_THAT(message_of<Error>([&] { load_parameters(saved, unknown); }),
              HasSubstr("does not fit the recipe: it has no tensor 'c'"));
  EXPECT_THAT(message_of<Error>([&] { load_parameters(saved, shape); }),
              HasSubstr("its tensor 'a' has shape [2, 3], and the model's has [5, 3]"));
}

TEST_F(CheckpointTest, AFailureNamesTheLastWholeCheckpointAndLeavesIt) {
  save(100);
  // A folder in place of the file that a save replaces makes it fail half-way, even for root.
  const Pair module(1);
  const fs::path blocked = folder / "checkpoints" / ".writing-latest";
  fs::create_directory(blocked);
  write(blocked / "inside", "x");
  const std::string message = message_of<Error>([&] { save(200); });
  EXPECT_THAT(message, AllOf(HasSubstr("the checkpoint of step 200 could not be saved"),
                             HasSubstr("The last whole one is step 100"), HasSubstr("--resume")));
  EXPECT_EQ(checkpoints.latest(), 100);
  EXPECT_EQ(verify_checkpoint(checkpoints.path(100)).step, 100);
}

}  // namespace
}  // namespace echo
