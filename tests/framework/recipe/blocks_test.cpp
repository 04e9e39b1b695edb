#include "tests/framework/recipe/toy.h"

namespace echo {

namespace {

using toy::mistake;
using toy::read;
using toy::with;

std::string blocks_of(const std::string& blocks) {
  const Recipe recipe = read(with("[[memory]]", blocks), {"model.mixers.p={kind: plain}"});
  std::string text;
  for (const auto& block : recipe.model.blocks) {
    text += text.empty() ? "" : " | ";
    for (const BranchRecipe& branch : block) text += branch.mixer_name + ",";
  }
  return text;
}

TEST(RecipeBlocks, KeepsTheOrderOfBranches) {
  EXPECT_EQ(blocks_of("[[memory, p], [p]]"), "memory,p, | p,");
}

TEST(RecipeBlocks, RepeatsABlock) {
  EXPECT_EQ(blocks_of("[[p], {repeat: 2, block: [memory, p]}]"), "p, | memory,p, | memory,p,");
}

TEST(RecipeBlocks, RepeatsAListOfBlocks) {
  EXPECT_EQ(blocks_of("[{repeat: 2, block: [[memory], [p]]}]"), "memory, | p, | memory, | p,");
}

TEST(RecipeBlocks, RepeatsRepeats) {
  EXPECT_EQ(blocks_of("[{repeat: 2, block: [[p], {repeat: 2, block: [memory]}]}]"),
            "p, | memory, | memory, | p, | memory, | memory,");
}

TEST(RecipeBlocks, ReadsNormAndScaleOfABranch) {
  const Recipe recipe =
      read(with("[[memory]]", "[[memory, {mixer: memory, norm: post, scale: 0.5}]]"));
  EXPECT_EQ(recipe.model.blocks[0][0].norm, NormPlacement::pre);
  EXPECT_EQ(recipe.model.blocks[0][0].scale, 1);
  EXPECT_EQ(recipe.model.blocks[0][1].norm, NormPlacement::post);
  EXPECT_EQ(recipe.model.blocks[0][1].scale, 0.5);
}

TEST(RecipeBlocks, ReadsAsManyBlocksAsAreAllowed) {
  EXPECT_EQ(read(with("[[memory]]", "[{repeat: 4096, block: [memory]}]")).model.blocks.size(),
            4096u);
}

TEST(RecipeBlocks, RejectsUnknownTemplateWithNearestName) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memry]]")),
            "a.yaml:5:13: model.blocks.0.0: model.mixers has no 'memry'; did you mean 'memory'? It "
            "has: memory");
}

TEST(RecipeBlocks, SaysThatACommaIsMissing) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memory p]]")),
            "a.yaml:5:13: model.blocks.0.0: model.mixers has no 'memory p'; is a ',' missing?");
}

TEST(RecipeBlocks, ExplainsThatAKindIsNoTemplate) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[recall]]")),
            "a.yaml:5:13: model.blocks.0.0: model.mixers has no 'recall', which is a kind; to use "
            "it by this name, add recall: {kind: recall} there; it has: memory");
}

TEST(RecipeBlocks, RejectsUnknownTemplateInABranchMap) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memory, {mixer: memry}]]")),
            "a.yaml:5:29: model.blocks.0.1.mixer: model.mixers has no 'memry'; did you mean "
            "'memory'? It has: memory");
}

TEST(RecipeBlocks, RejectsUnknownKeyOfABranch) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[{mixr: memory}]]")),
            "a.yaml:5:14: model.blocks.0.0.mixr: unknown key; did you mean 'mixer'? Known keys: "
            "mixer, norm, scale");
}

TEST(RecipeBlocks, RejectsBranchWithoutMixer) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[{norm: post}]]")),
            "a.yaml:5:13: model.blocks.0.0: the mixer is missing; write {mixer: memory, ...}");
}

TEST(RecipeBlocks, RejectsUnknownNormPlacement) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[{mixer: memory, norm: after}]]")),
            "a.yaml:5:35: model.blocks.0.0.norm: expected one of pre, post, none, found 'after'");
}

TEST(RecipeBlocks, RejectsTextForAScale) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[{mixer: memory, scale: x}]]")),
            "a.yaml:5:36: model.blocks.0.0.scale: expected a number, found 'x'");
}

TEST(RecipeBlocks, RejectsKindInABlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[{kind: recall}]]")),
            "a.yaml:5:13: model.blocks.0.0: a mixer is described under model.mixers and named "
            "here; write mixers: {NAME: {kind: ...}} and the name in this place");
}

TEST(RecipeBlocks, RejectsKindInABranchMap) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[{mixer: {kind: recall}}]]")),
            "a.yaml:5:21: model.blocks.0.0.mixer: expected the name of a mixer of model.mixers, "
            "found a map");
}

TEST(RecipeBlocks, RejectsEmptyList) {
  EXPECT_EQ(
      mistake(with("[[memory]]", "[]")),
      "a.yaml:5:11: model.blocks: is empty; a model needs at least one block, as in [[NAME]]");
}

TEST(RecipeBlocks, RejectsEmptyBlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memory], []]")),
            "a.yaml:5:22: model.blocks.1: a block without branches; name a mixer of model.mixers "
            "in it, or remove the block");
}

TEST(RecipeBlocks, RejectsNothing) {
  EXPECT_EQ(mistake(with("[[memory]]", "")),
            "a.yaml:5:3: model.blocks: expected a list [...], found nothing; write a value, or "
            "remove the key");
}

TEST(RecipeBlocks, RejectsWord) {
  EXPECT_EQ(mistake(with("[[memory]]", "memory")),
            "a.yaml:5:11: model.blocks: expected a list [...], found 'memory'");
}

TEST(RecipeBlocks, RejectsMap) {
  EXPECT_EQ(mistake(with("[[memory]]", "{memory: 1}")),
            "a.yaml:5:11: model.blocks: expected a list [...], found a map");
}

TEST(RecipeBlocks, RejectsWordInsteadOfABlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[memory]")),
            "a.yaml:5:12: model.blocks.0: expected a block, which is a list of branches, or "
            "{repeat: n, block: [...]}, found 'memory'; write [memory]");
}

TEST(RecipeBlocks, RejectsBranchMapInsteadOfABlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{mixer: memory}]")),
            "a.yaml:5:12: model.blocks.0: expected a block, which is a list of branches, or "
            "{repeat: n, block: [...]}, found a map");
}

TEST(RecipeBlocks, RejectsNullInsteadOfABlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memory], null]")),
            "a.yaml:5:22: model.blocks.1: expected a block, which is a list of branches, or "
            "{repeat: n, block: [...]}, found null");
}

TEST(RecipeBlocks, RejectsNullInABlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memory, null]]")),
            "a.yaml:5:21: model.blocks.0.1: expected the name of a mixer of model.mixers, or "
            "{mixer: NAME, norm: ..., scale: ...}, found null");
}

TEST(RecipeBlocks, RejectsBlockAmongBranches) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memory, [memory]]]")),
            "a.yaml:5:21: model.blocks.0.1: a block among the branches of a block; put every block "
            "of this list into a list of its own");
}

TEST(RecipeBlocks, RejectsRepeatAmongBranches) {
  EXPECT_EQ(mistake(with("[[memory]]", "[[memory, {repeat: 2, block: [memory]}]]")),
            "a.yaml:5:21: model.blocks.0.1: a repeat among the branches of a block; put every "
            "block of this list into a list of its own");
}

TEST(RecipeBlocks, RejectsBranchAmongBlocksOfARepeat) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: 2, block: [[memory], memory]}]")),
            "a.yaml:5:42: model.blocks.0.block.1: expected a block, which is a list of branches, "
            "or {repeat: n, block: [...]}, found 'memory'; write [memory]");
}

TEST(RecipeBlocks, RejectsRepeatOfZero) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: 0, block: [memory]}]")),
            "a.yaml:5:21: model.blocks.0.repeat: 0 is out of range; allowed: at least 1");
}

TEST(RecipeBlocks, RejectsNegativeRepeat) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: -1, block: [memory]}]")),
            "a.yaml:5:21: model.blocks.0.repeat: -1 is out of range; allowed: at least 1");
}

TEST(RecipeBlocks, RejectsTextForARepeat) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: twice, block: [memory]}]")),
            "a.yaml:5:21: model.blocks.0.repeat: expected an integer (at least 1), found 'twice'");
}

TEST(RecipeBlocks, RejectsRepeatBeyondTheLimit) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: 5000, block: [memory]}]")),
            "a.yaml:5:21: model.blocks.0.repeat: 5000 times 1 blocks with 1 branches are too many; "
            "allowed: at most 4096 blocks and 16384 branches in all");
}

TEST(RecipeBlocks, RejectsRepeatBeyond64Bits) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: 99999999999999999999, block: [memory]}]")),
            "a.yaml:5:21: model.blocks.0.repeat: 99999999999999999999 does not fit into 64 bits; "
            "allowed: at least 1");
}

TEST(RecipeBlocks, RejectsNestedRepeatsBeyondTheLimit) {
  EXPECT_EQ(
      mistake(with("[[memory]]", "[{repeat: 4096, block: [{repeat: 4096, block: [memory]}]}]")),
      "a.yaml:5:21: model.blocks.0.repeat: 4096 times 4096 blocks with 4096 branches are too many; "
      "allowed: at most 4096 blocks and 16384 branches in all");
}

TEST(RecipeBlocks, RejectsTooManyBlocksTogether) {
  EXPECT_EQ(mistake(with("[[memory]]",
                         "[{repeat: 4000, block: [memory]}, {repeat: 97, block: [memory]}]")),
            "a.yaml:5:45: model.blocks.1: up to here the model has 4097 blocks (4097 branches); "
            "allowed: at most 4096 blocks and 16384 branches in all");
}

TEST(RecipeBlocks, RejectsTooManyBranches) {
  EXPECT_EQ(mistake(with("[[memory]]",
                         "[{repeat: 4000, block: [memory, memory, memory, memory, memory]}]")),
            "a.yaml:5:21: model.blocks.0.repeat: 4000 times 1 blocks with 5 branches are too many; "
            "allowed: at most 4096 blocks and 16384 branches in all");
}

TEST(RecipeBlocks, RejectsRepeatOfNothing) {
  EXPECT_EQ(
      mistake(with("[[memory]]", "[{repeat: 2}]")),
      "a.yaml:5:12: model.blocks.0: says how often but not what; write {repeat: 2, block: [...]}");
}

TEST(RecipeBlocks, RejectsRepeatOfAnEmptyBlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: 2, block: []}]")),
            "a.yaml:5:31: model.blocks.0.block: a block without branches; name a mixer of "
            "model.mixers in it, or remove the block");
}

TEST(RecipeBlocks, RejectsWordAsRepeatedBlock) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: 2, block: memory}]")),
            "a.yaml:5:31: model.blocks.0.block: expected a list [...], found 'memory'");
}

TEST(RecipeBlocks, RejectsUnknownKeyOfARepeat) {
  EXPECT_EQ(mistake(with("[[memory]]", "[{repeat: 2, blocks: [memory]}]")),
            "a.yaml:5:24: model.blocks.0.blocks: unknown key; did you mean 'block'? Known keys: "
            "block, repeat");
}

TEST(RecipeBlocks, RejectsNameWhenThereAreNoMixers) {
  EXPECT_EQ(mistake(with("{kind: recall, heads: 2}", "null")),
            "a.yaml:5:13: model.blocks.0.0: no mixer is described, so there is no 'memory'; write "
            "mixers: {memory: {kind: NAME}} beside the blocks");
}

}  // namespace

}  // namespace echo
