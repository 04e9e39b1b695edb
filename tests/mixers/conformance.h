#pragma once

#include <echo/error.h>
#include <echo/testing.h>

#include <gtest/gtest.h>

namespace echo {

// Runs the conformance kit over a mixer with these options.
template <class M, class O>
void expect_conforms(const O& options, const testing::CheckSettings& settings = {}) {
  Registry registry;
  registry.add_mixer<M, O>("tested", "a mixer under test");
  OptionsOf<O> chosen;
  chosen.value = options;
  for (const testing::CheckResult& result :
       testing::check_mixer(*registry.mixers.find("tested"), chosen, settings)) {
    EXPECT_TRUE(result.passed) << result.id << ": " << result.detail;
  }
}

// A mixer with parameters drawn from a seed.
template <class M, class O>
std::unique_ptr<M> make_mixer(O options, const Place& place, uint64_t seed = 0) {
  if constexpr (requires { options.complete(place); }) options.complete(place);
  auto mixer = std::make_unique<M>(options, place);
  initialize(*mixer, seed);
  return mixer;
}

// What options of this kind say of themselves at a width of 48, and of which field; empty: nothing.
template <class O>
std::string refusal(O options, const std::string& field) {
  try {
    options.complete(Place{.width = 48});
  } catch (const FieldError& error) {
    EXPECT_EQ(error.field(), field);
    return error.what();
  }
  return "";
}

}  // namespace echo
