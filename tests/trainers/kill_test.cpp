// Kills a training program at random moments, many times, and compares what it has trained in the
// end with a run that was left alone.

#include "framework/src/files/safetensors.h"
#include "tests/trainers/support.h"

#include <chrono>
#include <fcntl.h>
#include <random>
#include <spawn.h>
#include <thread>
#include <unistd.h>

#include <sys/wait.h>

extern char** environ;

namespace echo {
namespace {

using namespace testing_run;
using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr int kKills = 60;
constexpr unsigned kSeed = 20;
constexpr int64_t kSteps = 120;
constexpr int kFinished = 0;
constexpr int kKilled = -SIGKILL;

// Large enough that writing a checkpoint takes a while, and one is written every second step.
const char* const kKillRecipe =
    "name: killed\n"
    "seed: 5\n"
    "model:\n"
    "  width: 64\n"
    "  dropout: 0.1\n"
    "  mixers:\n"
    "    conv: {kind: short_conv}\n"
    "    recall: {kind: linear_attention, heads: 2}\n"
    "  blocks: [[conv, recall]]\n"
    "task: {kind: mqar, length: 32, pairs: 4, vocabulary: 2048, validation_samples: 16, "
    "test_samples: 16}\n"
    "train:\n"
    "  steps: 120\n"
    "  batch: 4\n"
    "  log_every: 1\n"
    "  optimizer: {kind: adamw, peak_rate: 3e-3}\n"
    "  schedule: {kind: cosine, warmup: 20}\n"
    "  checkpoint: {every: 2, keep: 2}\n"
    "evaluate: {every: 10}\n";

class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments, const fs::path& output) {
    std::vector<char*> words;
    for (const std::string& argument : arguments)
      words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) {
      posix_spawn_file_actions_addopen(&files, descriptor, output.c_str(),
                                       O_WRONLY | O_CREAT | O_APPEND, 0666);
    }
    failed_ = ::posix_spawn(&id_, words[0], &files, nullptr, words.data(), environ) != 0;
    posix_spawn_file_actions_destroy(&files);
  }

  bool running() {
    if (failed_ || ended_) return false;
    int status = 0;
    if (::waitpid(id_, &status, WNOHANG) == id_) end(status);
    return !ended_;
  }
  void kill() {
    if (running()) ::kill(id_, SIGKILL);
  }
  // The exit code, or minus the number of the signal.
  int wait() {
    int status = 0;
    if (!failed_ && !ended_ && ::waitpid(id_, &status, 0) == id_) end(status);
    return result_;
  }

 private:
  void end(int status) {
    ended_ = true;
    result_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
  pid_t id_ = 0;
  bool failed_ = false;
  bool ended_ = false;
  int result_ = -1000;
};

struct KillTest : testing::Test {
  KillTest() { write(folder / "killed.yaml", kKillRecipe); }

  // What a person would type: start what is not there, resume what is.
  Process launch(const RunFolder& run) const {
    std::vector<std::string> command = {ECHO_PROGRAM, "train", "--threads",
                                        "1",          "--run", run.path().string()};
    const bool there = run.stage() == RunStage::begun || run.stage() == RunStage::unfinished;
    command.push_back(there ? "--resume" : (folder / "killed.yaml").string());
    return Process(command, folder / "output.txt");
  }

  template <class F>
  static void wait_until(Process& process, F&& condition) {
    while (process.running() && !condition()) std::this_thread::sleep_for(microseconds(300));
  }

  bool writing(const RunFolder& run) const {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(run.path() / "checkpoints", ignored)) {
      if (entry.path().filename().string().rfind(".writing-", 0) == 0) return true;
    }
    return false;
  }

  void sleep_up_to(int64_t longest) {
    std::uniform_int_distribution<int64_t> draw(0, longest);
    std::this_thread::sleep_for(microseconds(draw(random)));
  }

  // Waits for a random moment of one of three sorts.
  void wait_for_a_moment(Process& process, const RunFolder& run, int number) {
    const auto lines = [&] {
      std::error_code none;
      const auto size = fs::file_size(run.metrics(), none);
      return none ? 0 : size;
    };
    switch (number % 3) {
      case 0:  // anywhere, the first millisecond included
        sleep_up_to(2 * start_up.count());
        break;
      case 1: {  // in a step
        const auto before = lines();
        wait_until(process, [&] { return lines() > before; });
        sleep_up_to(200000);
        break;
      }
      default:  // while a checkpoint is written
        wait_until(process, [&] { return writing(run); });
        sleep_up_to(20000);
        wait_until(process, [&] { return writing(run); });
        sleep_up_to(3000);
    }
  }

  static void expect_whole(const RunFolder& run) {
    const auto latest = run.checkpoints().latest();
    if (!latest) return;
    const TrainerState state = verify_checkpoint(run.checkpoints().path(*latest));
    EXPECT_EQ(state.step, *latest);
  }

  static void expect_equal(const RunFolder& a, const RunFolder& b) {
    for (const char* name : {kModelFile, kOptimizerFile}) {
      EXPECT_EQ(content(a.checkpoints().path(kSteps) / name),
                content(b.checkpoints().path(kSteps) / name))
          << name;
    }
    EXPECT_EQ(metrics_without_time(a.metrics()), metrics_without_time(b.metrics()));
  }

  TemporaryFolder folder;
  std::mt19937 random{kSeed};
  microseconds start_up{0};
};

TEST_F(KillTest, ARunThatIsKilledAgainAndAgainEqualsOneThatWasLeftAlone) {
  const RunFolder whole(folder / "whole");
  const auto begin = Clock::now();
  Process alone = launch(whole);
  wait_until(alone, [&] { return fs::exists(whole.recipe()); });
  start_up = std::chrono::duration_cast<microseconds>(Clock::now() - begin);
  ASSERT_EQ(alone.wait(), kFinished) << content(folder / "output.txt");

  int kills = 0, while_writing = 0;
  for (int runs = 0; kills < kKills; ++runs) {
    const RunFolder run(folder / ("run" + std::to_string(runs)));
    while (run.stage() != RunStage::finished) {
      Process process = launch(run);
      if (kills < kKills) wait_for_a_moment(process, run, kills);
      if (kills < kKills) process.kill();
      const int result = process.wait();
      if (result == kKilled) {
        ++kills;
        if (writing(run)) ++while_writing;
        expect_whole(run);
      } else {
        ASSERT_EQ(result, kFinished) << content(folder / "output.txt");
      }
    }
    expect_equal(whole, run);
    if (HasFailure()) return;
  }
  std::cout << kills << " kills, " << while_writing << " of them while a checkpoint was written\n";
  EXPECT_GT(while_writing, 0);
}

}  // namespace
}  // namespace echo
