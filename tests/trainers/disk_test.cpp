#include "tests/trainers/support.h"

#include <cerrno>
#include <cstring>

#include <gmock/gmock.h>
#include <sys/mount.h>

namespace echo {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using namespace testing_run;

// A run folder on a file system of its own, of `kilobytes`; needs root.
class TinyDisk {
 public:
  explicit TinyDisk(int kilobytes) {
    const std::string size = "size=" + std::to_string(kilobytes) + "k";
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, size.c_str()) == 0;
    if (!mounted_) reason_ = std::strerror(errno);
  }
  ~TinyDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  std::string reason() const { return "cannot mount a tmpfs here: " + reason_; }
  void make_read_only() const {
    ASSERT_EQ(::mount("tmpfs", folder_.path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr),
              0);
  }
  fs::path run() const { return folder_ / "run"; }
  // Takes all the room there is.
  void fill() const {
    std::ofstream file(folder_ / "filler", std::ios::binary);
    const std::string block(4096, 'x');
    while (file.write(block.data(), 4096).flush()) {
    }
  }
  void empty() const { fs::remove(folder_ / "filler"); }

 private:
  TemporaryFolder folder_;
  bool mounted_ = false;
  std::string reason_;
};

#define NEEDS(disk) \
  if (!(disk).mounted()) GTEST_SKIP() << (disk).reason()

struct DiskTest : testing::Test {
  void TearDown() override { on_batch = nullptr; }
  TrainRequest on(const TinyDisk& disk) const {
    TrainRequest request = run.request();
    request.run = disk.run().string();
    return request;
  }
  static void at_step(int64_t step, std::function<void()> action) {
    on_batch = [=](Split split, int64_t first) {
      if (split == Split::train && first == (step - 1) * 4) action();
    };
  }
  SmallRun run;
};

TEST_F(DiskTest, AFullDiskNamesTheFileAndTheLastCheckpointAndLosesNothing) {
  const TinyDisk disk(256);
  NEEDS(disk);
  SmallRun whole;
  whole.overrides = run.overrides = {"train.log_every=100", "evaluate.every=null"};
  whole.start();
  at_step(8, [&] { disk.fill(); });
  EXPECT_THAT(
      message_of<Error>([&] { run.with(on(disk)); }),
      AllOf(HasSubstr("the checkpoint of step 8 could not be saved"),
            HasSubstr("No space left on device"), HasSubstr("It takes "), HasSubstr("are free"),
            HasSubstr("The last whole one is step 4"), HasSubstr("--resume")));
  const Checkpoints checkpoints = RunFolder(disk.run()).checkpoints();
  EXPECT_THAT(checkpoints.steps(), ElementsAre(4));
  EXPECT_EQ(verify_checkpoint(checkpoints.path(4)).step, 4);

  on_batch = nullptr;
  disk.empty();
  TrainRequest again = on(disk);
  again.resume = true;
  EXPECT_EQ(run.with(again).outcome, Outcome::finished);
  for (const char* name : {kModelFile, kOptimizerFile}) {
    EXPECT_EQ(content(whole.run().checkpoints().path(12) / name),
              content(checkpoints.path(12) / name));
  }
}

TEST_F(DiskTest, ADiskThatFillsUpBetweenCheckpointsStopsTheRunWithTheReason) {
  const TinyDisk disk(256);
  NEEDS(disk);
  run.overrides = {"train.steps=1000", "train.checkpoint.every=900"};
  at_step(5, [&] { disk.fill(); });
  EXPECT_THAT(message_of<Error>([&] { run.with(on(disk)); }),
              AllOf(HasSubstr("metrics.jsonl: No space left on device"), HasSubstr("--resume")));
}

TEST_F(DiskTest, ADiskThatIsFullFromTheBeginningLeavesNoRunBehind) {
  const TinyDisk disk(64);
  NEEDS(disk);
  disk.fill();
  EXPECT_THAT(message_of<Error>([&] { run.with(on(disk)); }),
              AllOf(HasSubstr(disk.run().string()), HasSubstr("No space left on device")));
  EXPECT_EQ(RunFolder(disk.run()).stage(), RunStage::absent);
  disk.empty();
  EXPECT_EQ(run.with(on(disk)).outcome, Outcome::finished);
}

TEST_F(DiskTest, AReadOnlyDiskIsRefusedBeforeAnyTraining) {
  const TinyDisk disk(256);
  NEEDS(disk);
  disk.make_read_only();
  bool asked = false;
  on_batch = [&](Split, int64_t) { asked = true; };
  EXPECT_THAT(message_of<Error>([&] { run.with(on(disk)); }),
              AllOf(HasSubstr("cannot write into"), HasSubstr("Read-only file system"),
                    HasSubstr("--run")));
  EXPECT_FALSE(asked);
}

TEST_F(DiskTest, AReadOnlyRunFolderIsNotResumed) {
  const TinyDisk disk(256);
  NEEDS(disk);
  at_step(8, [] { std::raise(SIGTERM); });
  ASSERT_EQ(run.with(on(disk)).outcome, Outcome::stopped);
  disk.make_read_only();
  bool asked = false;
  on_batch = [&](Split, int64_t) { asked = true; };
  TrainRequest again = on(disk);
  again.resume = true;
  EXPECT_THAT(message_of<Error>([&] { run.with(again); }),
              AllOf(HasSubstr("Read-only file system"), HasSubstr(disk.run().string())));
  EXPECT_FALSE(asked);
}

TEST_F(DiskTest, TheRootOfADiskMayBeTheRunFolder) {
  const TinyDisk disk(256);
  NEEDS(disk);
  TrainRequest request = run.request();
  request.run = disk.run().parent_path().string();
  EXPECT_EQ(run.with(request).outcome, Outcome::finished);
}

TEST_F(DiskTest, AFileThatMayNotGrowFailsTheCheckpointNotTheOneBefore) {
  run.overrides = {"train.log_every=100", "evaluate.every=null"};
  std::unique_ptr<FileSizeLimit> limit;
  at_step(8, [&] { limit = std::make_unique<FileSizeLimit>(2000); });
  const std::string message = message_of<Error>([&] { run.start(); });
  limit.reset();
  EXPECT_THAT(message, AllOf(HasSubstr("model.safetensors: File too large"),
                             HasSubstr("The last whole one is step 4")));
  EXPECT_THAT(run.run().checkpoints().steps(), ElementsAre(4));
  for (const auto& entry : fs::directory_iterator(run.folder / "run/checkpoints"))
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("writing")));
}

}  // namespace
}  // namespace echo
