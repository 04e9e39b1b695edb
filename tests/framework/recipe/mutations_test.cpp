#include "tests/framework/recipe/mutations.h"

#include "framework/src/recipe/schema.h"
#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

// Everything that a recipe can hold, in the toy kinds.
const char* const kFull =
    "# a comment\n"
    "name: everything\n"
    "seed: 3\n"
    "plugins: []\n"
    "model:\n"
    "  width: 8\n"
    "  vocabulary: 20\n"
    "  mixers:\n"
    "    memory: &m {kind: recall, heads: 2, rates: [0.5, 1], note: 'a \"b\"', mode: exact}\n"
    "    again: *m\n"
    "    plain:\n"
    "      kind: plain\n"
    "      depth_scale: null\n"
    "  blocks:\n"
    "    - [memory, {mixer: plain, norm: post, scale: 0.5}]\n"
    "    - {repeat: 2, block: [[again], {repeat: 3, block: [memory]}]}\n"
    "  norm: {kind: layer_norm, eps: 1e-5}\n"
    "  positions: {kind: learned, length: 64}\n"
    "task: {kind: copy, length: 16, text: a.txt, segments: {train: [{length: 4, samples: 10}]}}\n"
    "train: {epochs: 2, batch: 4, optimizer: {kind: sgd}, schedule: {kind: cosine, warmup: 1}}\n"
    "evaluate: {every: 5, tasks: {other: {kind: copy}}}\n"
    "parallel: {data: 2, sequence: 1, zero: 1, time_limit: 9.5, grace: 1}\n";

// Reads a mutation; whatever is wrong with it must be a ConfigError with a message.
void read_mutation(const std::string& text, const Registry& registry, int& accepted) {
  try {
    const Recipe recipe = read_recipe_text(text, "a.yaml", "/recipes", {}, registry);
    const std::string once = resolved_yaml(recipe);
    const Recipe again = read_recipe_text(once, "a.yaml", "/", {}, registry);
    EXPECT_EQ(resolved_yaml(again), once) << text;
    ++accepted;
  } catch (const ConfigError& error) {
    EXPECT_GT(std::string(error.what()).size(), 10u);
  } catch (const std::exception& other) {
    ADD_FAILURE() << other.what() << "\n" << text;
  }
}

TEST(MutatedRecipes, AreReadOrRefusedWithAMessage) {
  toy::Mutator mutator(1);
  const Registry registry = toy::registry();
  int accepted = 0;
  constexpr int kMutations = 4000;
  for (int i = 0; i < kMutations; ++i) read_mutation(mutator.mutate(kFull), registry, accepted);
  EXPECT_GT(accepted, kMutations / 100);  // both sides are exercised
  EXPECT_LT(accepted, kMutations / 2);
}

TEST(MutatedOverrides, AreAppliedOrRefusedWithAMessage) {
  toy::Mutator mutator(2);
  for (int i = 0; i < 2000; ++i) {
    const std::string change = mutator.mutate("model.blocks.0.1={mixer: plain, norm: post}");
    try {
      read_recipe_text(kFull, "a.yaml", "/recipes", {change}, toy::registry());
    } catch (const ConfigError& error) {
      EXPECT_GT(std::string(error.what()).size(), 10u);
    } catch (const std::exception& other) {
      ADD_FAILURE() << other.what() << "\n" << change;
    }
  }
}

}  // namespace

}  // namespace echo
