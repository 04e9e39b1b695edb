#pragma once

#include "framework/src/recipe/kinds.h"
#include "framework/src/recipe/nested.h"
#include "framework/src/recipe/tree.h"
#include "tests/support/builtins.h"

#include <echo/error.h>
#include <echo/members.h>
#include <echo/random.h>
#include <echo/testing.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {

// A mixer as a recipe writes it, of the program's own kinds. Not completed yet.
inline MixerChoice chosen(const std::string& text) {
  const Node node = read_tree_text(text, "a.yaml", ".", {});
  Places places;
  return NestedMixers(builtin_registry().mixers).read(node, "mixer", places);
}

inline std::unique_ptr<Mixer> made(const std::string& text, const Place& place = {.width = 32}) {
  MixerChoice choice = chosen(text);
  choice.complete(place, "mixer");
  std::unique_ptr<Mixer> mixer = choice.make(place, "mixer");
  initialize(*mixer, 0);
  return mixer;
}

// Runs the conformance kit over it.
inline void expect_conforms(const std::string& text) {
  const MixerChoice choice = chosen(text);
  for (const testing::CheckResult& result : testing::check_mixer(choice.kind, *choice.options))
    EXPECT_TRUE(result.passed) << result.id << ": " << result.detail;
}

// What is wrong with a mixer at a width of 32, and of which field.
inline std::string refusal(const std::string& text) {
  try {
    made(text);
  } catch (const FieldError& error) {
    return error.field() + ": " + error.what();
  }
  return "";
}

inline at::Tensor tokens(int64_t batch, int64_t length, int64_t width = 32) {
  at::Generator stream = generator(1, "tokens");
  return at::empty({batch, length, width}, at::kFloat).normal_(0, 1, stream);
}

// y of these tokens from an empty state, in stretches of `step` tokens.
inline at::Tensor through_state(Mixer& mixer, const at::Tensor& x, int64_t step) {
  State state = mixer.initial_state({.batch = x.size(0), .capacity = x.size(1)});
  std::vector<at::Tensor> parts;
  for (int64_t t = 0; t < x.size(1); t += step) {
    const int64_t count = std::min(step, x.size(1) - t);
    parts.push_back(mixer(x.narrow(1, t, count), {.state = &state}));
  }
  return at::cat(parts, 1);
}

}  // namespace echo
