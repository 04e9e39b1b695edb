#include "framework/src/testing/peer.h"

#include <cstdlib>
#include <fstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// As much of torch as the driver touches.
constexpr const char* kTorch = R"(
__version__ = "0.0"
set_num_threads = manual_seed = lambda number: None
randn = lambda shape: shape

class no_grad:
    __enter__ = __exit__ = lambda *problem: None
)";

constexpr const char* kLayer = R"(
def layer(width, fields):
    return lambda x: print("a library says something")
)";

// Peers of scripts that a test writes, run by a Python in which torch is a stub.
class PeerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("python3 -c '' 2>/dev/null") != 0) GTEST_SKIP() << "there is no python3";
    std::filesystem::create_directories(folder_);
    write("torch.py", kTorch);
    ::unsetenv("ECHO_PYTHON");
    ::setenv("PYTHONPATH", folder_.c_str(), 1);
    const auto build = std::filesystem::path(ECHO_PROGRAM).parent_path().parent_path();
    ::setenv("ECHO_PLUGIN_FOLDER", (build / "lib" / "echo-lm").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("PYTHONPATH");
    ::unsetenv("ECHO_PLUGIN_FOLDER");
    std::filesystem::remove_all(folder_);
  }

  Peer peer(const std::string& script) const {
    write("toy.peer.py", script);
    return Peer(folder_ / "toy.peer.py", R"({"heads": 3})",
                {.width = 8, .length = 4, .batch = 2, .rounds = 1});
  }

 private:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }

  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("echo_peer_" + std::to_string(::getpid()));
};

TEST_F(PeerTest, TimesAForwardPassWhateverTheLayerPrints) {
  Peer toy = peer(kLayer);
  ASSERT_THAT(toy.missing(), IsEmpty());
  EXPECT_TRUE(toy.seconds(SpeedRow::Pass::forward).has_value());
}

TEST_F(PeerTest, TimesATokenAfterEachContextForWhichTheScriptHasAStep) {
  Peer toy = peer(std::string(kLayer) + R"(
def step(layer, batch, context):
    return layer if (batch, context) in ((2, 10), (2, None)) else None
)");
  EXPECT_TRUE(toy.seconds(SpeedRow::Pass::token, 10).has_value());
  EXPECT_TRUE(toy.seconds(SpeedRow::Pass::token).has_value());
  EXPECT_FALSE(toy.seconds(SpeedRow::Pass::token, 100).has_value());
}

TEST_F(PeerTest, HasNoTokensWithoutAStep) {
  Peer toy = peer(kLayer);
  EXPECT_FALSE(toy.seconds(SpeedRow::Pass::token, 10).has_value());
  EXPECT_FALSE(toy.seconds(SpeedRow::Pass::token).has_value());
}

TEST_F(PeerTest, IsCalledByItsNameAndTorchs) {
  EXPECT_EQ(peer(kLayer).name(), "torch 0.0 in Python");
  EXPECT_EQ(peer(std::string("NAME = 'a toy'\n") + kLayer).name(), "a toy, torch 0.0");
}

TEST_F(PeerTest, NamesThePackageThatTheScriptWantsAndWhatInstallsIt) {
  EXPECT_THAT(peer("from toys_of_wood.trains import Train\n").missing(),
              AllOf(HasSubstr("no toys_of_wood in "), HasSubstr("No module named 'toys_of_wood'"),
                    HasSubstr("-m pip install --upgrade toys_of_wood`"), HasSubstr("ECHO_PYTHON")));
}

TEST_F(PeerTest, SaysWhatTheScriptCannotHonour) {
  EXPECT_EQ(peer("def layer(width, fields):\n    raise ValueError(f'no {fields} of {width}')\n")
                .missing(),
            "no {'heads': 3} of 8");
}

}  // namespace
}  // namespace echo::testing
