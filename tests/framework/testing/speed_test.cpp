#include "framework/src/testing/speed.h"

#include <echo/linear.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Sums of its input, through two shared maps and one more, with memory of a kind.
class Toy final : public Mixer {
 public:
  Toy(const Place& place, Memory memory) : Mixer(place) {
    traits_.memory = memory;
    const std::vector<LinearBlock> blocks = {{"a", 20}, {"b", 30}};
    in_ = &child("", std::make_unique<Linear>(place.width, blocks, place.options));
    out_ = &child("", std::make_unique<Linear>(30, std::vector<LinearBlock>{{"out", place.width}},
                                               place.options));
    parameter("kernel", {place.width, 3}, init::ones());
  }

  const Traits& traits() const override { return traits_; }
  State initial_state(const StateOptions& options) const override {
    State state(options.batch, options.device);
    const int64_t tokens = traits_.memory == Memory::growing ? options.capacity : 1;
    state.add("seen", at::zeros({options.batch, tokens, 1 << 10},
                                at::TensorOptions().device(options.device)));
    return state;
  }
  int64_t flops(int64_t, int64_t) const override { return 0; }
  std::vector<int64_t> positions;  // at which single tokens were read

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override {
    if (span.state) positions.push_back(span.state->longest());
    return (*out_)(in_->split(x)[1]);
  }

 private:
  Traits traits_;
  Linear *in_, *out_;
};

SpeedOptions tiny() {
  return {.width = 16, .length = 4, .batch = 1, .rounds = 1, .contexts = {8, 1 << 20}};
}

class SpeedTest : public ::testing::Test {
 protected:
  ~SpeedTest() override { at::set_num_threads(threads_); }
  const int threads_ = at::get_num_threads();
};

TEST_F(SpeedTest, TheFloorIsEveryMatrixOnceAtItsPaddedSize) {
  const Toy toy({.width = 16}, Memory::constant);
  const Floor floor(toy, 1, 4);
  ASSERT_THAT(floor.matrices(), SizeIs(2));
  EXPECT_THAT(floor.matrices()[0].sizes(), ElementsAre(64, 16));
  EXPECT_THAT(floor.matrices()[1].sizes(), ElementsAre(16, 30));
}

TEST_F(SpeedTest, TheFloorLeavesTheMixersGradientsAlone) {
  Toy toy({.width = 16}, Memory::constant);
  initialize(toy, 1);
  Floor(toy, 1, 4).train();
  for (const Parameter& parameter : toy.parameters())
    EXPECT_FALSE(parameter.gradient().defined()) << parameter.name;
}

TEST_F(SpeedTest, TimesEveryPassAndOneTokenAfterEachContext) {
  Toy toy({.width = 16}, Memory::constant);
  initialize(toy, 1);
  const Speed speed = measure_speed(toy, tiny());
  ASSERT_THAT(speed.rows, SizeIs(4));
  EXPECT_EQ(speed.rows[0].pass, SpeedRow::Pass::forward);
  EXPECT_EQ(speed.rows[1].pass, SpeedRow::Pass::train);
  EXPECT_EQ(speed.rows[2].context, 8);
  EXPECT_EQ(speed.rows[3].context, 1 << 20);
  for (const SpeedRow& row : speed.rows) {
    EXPECT_GT(row.seconds, 0);
    EXPECT_GT(row.floor, 0);
    EXPECT_FALSE(row.peer.has_value());
  }
  EXPECT_GT(speed.peak_bytes, 4 * 16 * 4);
  EXPECT_THAT(toy.positions, ::testing::Contains(1 << 20));
}

TEST_F(SpeedTest, LeavesOutContextsThatAGrowingMemoryCannotHold) {
  Toy toy({.width = 16}, Memory::growing);
  initialize(toy, 1);
  const Speed speed = measure_speed(toy, tiny());
  ASSERT_THAT(speed.rows, SizeIs(3));
  EXPECT_EQ(speed.rows[2].context, 8);
}

TEST_F(SpeedTest, TimesOneTokenOnceWhereThereIsNoMemory) {
  Toy toy({.width = 16}, Memory::none);
  initialize(toy, 1);
  const Speed speed = measure_speed(toy, tiny());
  ASSERT_THAT(speed.rows, SizeIs(3));
  EXPECT_FALSE(speed.rows[2].context.has_value());
  EXPECT_THAT(toy.positions, IsEmpty());
}

TEST_F(SpeedTest, APeerTakesPartInThePassesThatItHas) {
  Toy toy({.width = 16}, Memory::none);
  initialize(toy, 1);
  const PeerRound peer = [](SpeedRow::Pass pass, std::optional<int64_t>) {
    return pass == SpeedRow::Pass::forward ? std::optional(3.0) : std::nullopt;
  };
  const Speed speed = measure_speed(toy, tiny(), peer);
  EXPECT_EQ(speed.rows[0].peer, 3.0);
  EXPECT_FALSE(speed.rows[1].peer.has_value());
  EXPECT_FALSE(speed.rows[2].peer.has_value());
}

TEST_F(SpeedTest, APeerReadsTokensAfterTheContextsThatItHas) {
  Toy toy({.width = 16}, Memory::constant);
  initialize(toy, 1);
  const PeerRound peer = [](SpeedRow::Pass, std::optional<int64_t> context) {
    return context == 1 << 20 ? std::optional(2.0) : std::nullopt;
  };
  const Speed speed = measure_speed(toy, tiny(), peer);
  ASSERT_THAT(speed.rows, SizeIs(4));
  EXPECT_FALSE(speed.rows[2].peer.has_value());
  EXPECT_EQ(speed.rows[3].peer, 2.0);
  EXPECT_LT(speed.rows[3].seconds, 2.0);
}

TEST(LeastTest, TakesTheLeastOfEachWhileAllTakeTurns) {
  std::string turns;
  double first = 5, second = 1;
  const std::vector<double> seconds = least({[&] {
                                               turns += 'a';
                                               return first -= 1;
                                             },
                                             [&] {
                                               turns += 'b';
                                               return second += 1;
                                             }},
                                            3);
  EXPECT_EQ(turns, "ababab");
  EXPECT_THAT(seconds, ElementsAre(2, 2));
}

}  // namespace
}  // namespace echo::testing
