#include <echo/span.h>
#include <echo/state.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

at::Tensor positions(std::initializer_list<int64_t> values) {
  return at::tensor(std::vector<int64_t>(values), at::TensorOptions().dtype(at::kLong));
}

State small_state() {
  State state(2);
  state.add("S", at::arange(6, at::kFloat).view({2, 3}));
  state.add("factor", at::ones({2, 4}), StateRole::derived);
  return state;
}

TEST(StateTest, CountsDerivedDataApart) {
  const State state = small_state();
  EXPECT_EQ(state.bytes(), 6 * 4);
  EXPECT_EQ(state.resident_bytes(), 6 * 4 + 8 * 4);
}

TEST(StateTest, CloneSharesNothing) {
  State state = small_state();
  const State copy = state.clone();
  state.get("S").zero_();
  EXPECT_EQ(copy.get("S").sum().item<float>(), 15);
}

TEST(StateTest, SelectsAndPutsRows) {
  State state = small_state();
  state.set_position(positions({5, 9}), 9);
  const State second = state.select(positions({1}));
  EXPECT_TRUE(at::equal(second.get("S"), state.get("S").narrow(0, 1, 1)));
  EXPECT_TRUE(at::equal(second.position(), positions({9})));
  state.put(positions({0}), second);
  EXPECT_TRUE(at::equal(state.get("S")[0], state.get("S")[1]));
  EXPECT_TRUE(at::equal(state.position(), positions({9, 9})));
}

TEST(StateTest, PutDropsDerivedDataThatTheOtherLacks) {
  State state = small_state();
  State other = state.select(positions({1}));
  other.remove("factor");
  state.put(positions({0}), other);
  EXPECT_FALSE(state.has("factor"));
}

TEST(StateTest, AdvancesByTheValidTokens) {
  State state(2);
  const at::Tensor lengths = positions({3, 0});
  const Offsets offsets = host_offsets({}, lengths, 2, 4);
  state.advance(4, {}, lengths, &offsets);
  EXPECT_TRUE(at::equal(state.position(), positions({3, 0})));
  EXPECT_GE(state.longest(), 3);
}

TEST(StateTest, CountsFromTheLastStart) {
  State state(2);
  state.set_position(positions({10, 10}), 10);
  at::Tensor starts = at::zeros({2, 4}, at::kBool);
  starts[1][2] = true;
  const Offsets offsets = host_offsets(starts, {}, 2, 4);
  state.advance(4, starts, {}, &offsets);
  EXPECT_TRUE(at::equal(state.position(), positions({14, 2})));
}

TEST(StateTest, AStartInThePaddingDoesNotCount) {
  State state(1);
  state.set_position(positions({10}), 10);
  at::Tensor starts = at::zeros({1, 4}, at::kBool);
  starts[0][3] = true;
  const at::Tensor lengths = positions({2});
  const Offsets offsets = host_offsets(starts, lengths, 1, 4);
  state.advance(4, starts, lengths, &offsets);
  EXPECT_TRUE(at::equal(state.position(), positions({12})));
}

TEST(StateTest, LongestBoundsEveryPosition) {
  State state(2);
  state.set_position(positions({10, 3}), 10);
  at::Tensor starts = at::zeros({2, 4}, at::kBool);
  starts.select(1, 1).fill_(true);
  const Offsets offsets = host_offsets(starts, {}, 2, 4);
  state.advance(4, starts, {}, &offsets);
  EXPECT_EQ(state.longest(), 3);
}

TEST(StateTest, UnrollsARing) {
  State state(1);
  state.add("k", at::zeros({1, 3}), StateRole::memory, 1);
  for (int64_t token = 0; token < 5; ++token) {
    state.get("k")[0][token % 3] = token;
    state.advance(1, {}, {}, nullptr);
  }
  EXPECT_TRUE(at::equal(state.ordered("k"), at::tensor({2.0f, 3.0f, 4.0f}).unsqueeze(0)));
}

TEST(StateTest, ShowsOnlyTheWrittenPartOfARing) {
  State state(1);
  state.add("k", at::zeros({1, 8}), StateRole::memory, 1);
  state.advance(2, {}, {}, nullptr);
  EXPECT_EQ(state.ordered("k").size(1), 2);
}

TEST(StateTest, LoadsWhatItUnrolled) {
  State state(1);
  state.add("k", at::zeros({1, 4}), StateRole::memory, 1);
  state.set_position(positions({7}), 7);
  const at::Tensor last = at::tensor({3.0f, 4.0f, 5.0f, 6.0f}).unsqueeze(0);
  state.load_ordered("k", last);
  EXPECT_TRUE(at::equal(state.ordered("k"), last));
  EXPECT_EQ(state.get("k")[0][6 % 4].item<float>(), 6);
}

TEST(StateTest, LoadsFewerTokensThanTheRingHolds) {
  State state(1);
  state.add("k", at::zeros({1, 8}), StateRole::memory, 1);
  state.set_position(positions({3}), 3);
  const at::Tensor all = at::tensor({1.0f, 2.0f, 3.0f}).unsqueeze(0);
  state.load_ordered("k", all);
  EXPECT_TRUE(at::equal(state.ordered("k"), all));
}

TEST(StateTest, RefusesATensorThatIsNotBatchFirst) {
  State state(2);
  EXPECT_THROW(state.add("S", at::zeros({3, 2})), std::logic_error);
}

}  // namespace
}  // namespace echo
