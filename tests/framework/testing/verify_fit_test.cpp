// Golden files that are wrong in themselves, or do not fit the mixer's state, mask and names.
#include "tests/framework/testing/verify_fixture.h"

#include <limits>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Verification;

TEST_F(VerifyTest, RefusesALossOfAStateThatTheMixerLacks) {
  EXPECT_EQ(refusal_of("linear_attn_layer",
                       [](auto& file) { file.metadata["loss"] = "sum(y*w) + sum(state.Z*w)"; }),
            "the loss has a term of 'state.Z', and the mixer's state has no such tensor with these "
            "options (it has state.S, state.z); that is allowed only where all weights are zero, "
            "and those of 'w' are not");
  EXPECT_THAT(refusal_of("swiglu_a",
                         [](auto& file) { file.metadata["loss"] = "sum(y*w) + sum(state.S*w)"; }),
              HasSubstr("(it has none)"));
}

TEST_F(VerifyTest, ALossMayNameAStateThatTheMixerLacksWithWeightsOfZero) {
  const auto path = changed("linear_attn_identity", [](auto& file) {
    file.metadata["loss"] = "sum(y*w) + sum(state.z*w_z)";
    file.tensors["w_z"] = at::zeros({2, 4, 8});
  });
  const Verification verification = verified(path);
  EXPECT_TRUE(verification.passed());
  EXPECT_THAT(verification.notes,
              ElementsAre("state.z: not in the mixer's state, and its weights are zero"));
}

TEST_F(VerifyTest, RefusesWeightsOfTokensThatTheWindowHasDropped) {
  const auto weighted = [&](const at::Tensor& weights) {
    return changed("attention_gqa_window_qknorm", [&](auto& file) {
      file.metadata["loss"] = "sum(y*w) + sum(state.k*w_k)";
      file.tensors["w_k"] = weights;
    });
  };
  EXPECT_EQ(refusal(weighted(at::ones({2, 2, 45, 8}))),
            "the loss weighs 'state.k' of all 45 tokens, and the mixer keeps 9; make the first 36 "
            "of 'w_k' zero, and the gradients those of that loss");
  EXPECT_EQ(refusal(weighted(at::ones({2, 2, 44, 8}))),
            "the tensor 'w_k' is (2, 2, 44, 8), and 'state.k' is (2, 2, 9, 8), its last tokens, or "
            "(2, 2, 45, 8), all of them");
  EXPECT_TRUE(verified(weighted(at::zeros({2, 2, 45, 8}))).passed());
}

TEST_F(VerifyTest, ALossMayWeighTheTokensInTheWindow) {
  NamedTensors file = computed({.kind = "attention",
                                .options = R"({"heads": 2, "window": 5})",
                                .state_weights = {{"k", some_numbers({1, 2, 5, 4}, 0.3)}}});
  EXPECT_THAT(failed(verified(written(file))), IsEmpty());
  file.tensors["w_k"] = at::cat({at::zeros({1, 2, 8, 4}), file.tensors["w_k"]}, 2);
  EXPECT_THAT(failed(verified(written(file))), IsEmpty());
  file.tensors["w_k"] *= 2;
  EXPECT_THAT(failed(verified(written(file))), Contains("d_k_proj.weight all ways"));
}

// The first tokens of 13 are the prefix.
NamedTensors with_prefix() {
  return computed({.kind = "ska",
                   .options = R"({"heads": 2, "rank": 3, "ridge": 0.5, "mode": "prefix"})",
                   .mask = at::arange(13).lt(9).to(at::kInt).unsqueeze(0)});
}

TEST_F(VerifyTest, TokensAfterAPrefixReadTheirOwnStateAndTheFiles) {
  NamedTensors file = with_prefix();
  const Verification verification = verified(written(file));
  EXPECT_THAT(failed(verification), IsEmpty());
  EXPECT_TRUE(compares(verification, "y_next"));
  file.tensors["y_next"] *= 1.01;
  EXPECT_THAT(failed(verified(written(file))),
              ElementsAre("y_next own state", "y_next file's state"));
}

TEST_F(VerifyTest, NotesThatAMixerThatIsNotCausalDoesNotGoOn) {
  NamedTensors file;
  file.metadata = {{"kind", "test/mean"}, {"level", "layer"}, {"options", "{}"}};
  for (const char* name : {"x", "y", "x_next", "y_next"}) file.tensors[name] = at::ones({1, 3, 8});
  const Verification verification = verified(written(file));
  EXPECT_TRUE(verification.passed());
  EXPECT_FALSE(compares(verification, "y_next"));
  EXPECT_THAT(verification.notes,
              ElementsAre("y_next: not compared, as the mixer does not go on from a state"));
}

TEST_F(VerifyTest, RefusesAMaskOfAnotherShape) {
  NamedTensors file = with_prefix();
  const at::Tensor mask = file.tensors["mask"];
  const auto refused = [&](const at::Tensor& other) {
    file.tensors["mask"] = other.contiguous();
    return refusal(written(file));
  };
  EXPECT_EQ(refused(mask.narrow(1, 0, 12)),
            "the tensor 'mask' is (1, 12), and should be (B, T) = (1, 13)");
  EXPECT_THAT(refused(at::cat({mask, mask}, 1)), HasSubstr("'mask' is (1, 26), and should be"));
  EXPECT_THAT(refused(at::cat({mask, mask}, 0)), HasSubstr("'mask' is (2, 13), and should be"));
  EXPECT_THAT(refused(mask[0]), HasSubstr("'mask' is (13), and should be"));
  EXPECT_THAT(refused(mask.unsqueeze(2)), HasSubstr("'mask' is (1, 13, 1), and should be"));
}

TEST_F(VerifyTest, RefusesAMaskOfOtherValues) {
  NamedTensors file = with_prefix();
  file.tensors["mask"] *= 7;
  EXPECT_EQ(refusal(written(file)),
            "the tensor 'mask' holds other values than 0 and 1: it is 1 where a token belongs to "
            "the prefix");
}

TEST_F(VerifyTest, RefusesAFileWithoutTheMaskThatTheMixerReads) {
  NamedTensors file = with_prefix();
  file.tensors.erase("mask");
  EXPECT_EQ(refusal(written(file)),
            "the tensor 'mask', (B, T) = (1, 13), is missing; with these options the mixer reads a "
            "prefix, whose tokens it marks with 1");
}

TEST_F(VerifyTest, NotesAMaskThatTheMixerDoesNotRead) {
  const auto path = changed("linear_attn_layer", [](auto& file) {
    file.tensors["mask"] = at::ones({2, 40}, at::kInt);
  });
  const Verification verification = verified(path);
  EXPECT_TRUE(verification.passed());
  EXPECT_THAT(verification.notes,
              ElementsAre("mask: the mixer reads no prefix with these options"));
}

TEST_F(VerifyTest, RefusesARingOfAnotherLength) {
  const auto refused = [&](const std::string& name, const at::Tensor& k) {
    return refusal_of(name, [&](auto& file) { file.tensors["state.k"] = k; });
  };
  EXPECT_EQ(refused("attention_mha_rope", at::zeros({2, 4, 10, 8})),
            "the tensor 'state.k' is (2, 4, 10, 8), and with these options the mixer's is "
            "(2, 4, 40, 8)");
  EXPECT_THAT(refused("attention_mha_rope", at::zeros({2, 4, 45, 8})),
              HasSubstr("is (2, 4, 45, 8), and with"));
  EXPECT_THAT(refused("attention_mha_rope", at::zeros({2, 4, 0, 8})),
              HasSubstr("is (2, 4, 0, 8), and with"));
  EXPECT_THAT(refused("attention_mha_rope", at::zeros({1, 2, 4, 40, 8})),
              HasSubstr("is (1, 2, 4, 40, 8), and with these options the mixer's is "
                        "(2, 4, 40, 8)"));
  EXPECT_EQ(refused("attention_gqa_window_qknorm", at::zeros({2, 2, 8, 8})),
            "the tensor 'state.k' is (2, 2, 8, 8), and with these options the mixer's is "
            "(2, 2, 9, 8), its last tokens, or (2, 2, 45, 8), all of them");
}

TEST_F(VerifyTest, OfARingTheTokensInTheWindowAreEnough) {
  const auto path = changed("attention_gqa_window_qknorm", [](auto& file) {
    for (const char* name : {"state.k", "state.v"})
      file.tensors[name] = file.tensors[name].narrow(2, 36, 9).contiguous();
  });
  EXPECT_TRUE(verified(path).passed());
}

TEST_F(VerifyTest, RefusesNumbersThatAreNotFinite) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(
      refusal_of("attention_mha_rope", [](auto& file) { file.tensors["y"][1][0][3] = kNan; }),
      "the tensor 'y' holds NaN or infinity (1 of 2560 values, the first at (1, 0, 3)); a golden "
      "file holds finite numbers");
  for (const char* name : {"x", "q_proj.weight", "w", "state.k", "dx", "y_next"}) {
    EXPECT_THAT(refusal_of("attention_mha_rope",
                           [&](auto& file) { file.tensors[name].flatten()[5] = kInfinity; }),
                HasSubstr("the tensor '" + std::string(name) + "' holds NaN or infinity"));
  }
}

TEST_F(VerifyTest, SaysWhyThereIsNoRatio) {
  const auto path = changed("linear_attn_layer", [](auto& file) { file.tensors["y"].zero_(); });
  const Verification verification = verified(path);
  EXPECT_THAT(failed(verification), ElementsAre("y whole", "y split", "y single tokens"));
  EXPECT_EQ(verification.comparisons.at(0).problem,
            "in float64 the file's values are all zero, and the mixer's are not");
}

TEST_F(VerifyTest, SaysThatTheMixersValuesAreNotFinite) {
  const auto path = changed("swiglu_a", [](auto& file) {
    file.tensors["down_proj.weight"].fill_(3e38);
    file.tensors["x"] *= 10;
  });
  EXPECT_EQ(verified(path).comparisons.at(0).problem,
            "in float32 the mixer's values are not finite");
}

TEST_F(VerifyTest, TheMixersOwnNormHasANameOfItsOwn) {
  NamedTensors file = computed_block();
  const Verification verification = verified(written(file));
  EXPECT_THAT(failed(verification), IsEmpty());
  EXPECT_TRUE(compares(verification, "d_norm.weight"));
  EXPECT_TRUE(compares(verification, "d_mixer.norm.weight"));
  file.tensors.erase("mixer.norm.weight");
  file.tensors.erase("d_mixer.norm.weight");
  EXPECT_EQ(refusal(written(file)),
            "the tensor 'norm.weight' is ambiguous, as the block's norm and the mixer both have a "
            "parameter of that name; name the mixer's 'mixer.norm.weight', and its gradient "
            "'d_mixer.norm.weight'");
}

TEST_F(VerifyTest, RefusesWeightsOfTheLossThatDoNotFit) {
  EXPECT_EQ(refusal_of("attention_mha_rope",
                       [](auto& file) { file.metadata["loss"] = "sum(state.k*w)"; }),
            "the tensor 'w' is (2, 40, 32), and 'state.k' is (2, 4, 40, 8)");
  EXPECT_EQ(refusal_of("attention_mha_rope",
                       [](auto& file) {
                         file.metadata["loss"] = "sum(y*w_y)";
                         file.tensors["w_y"] = at::ones({2, 40});
                       }),
            "the tensor 'w_y' is (2, 40), and 'y' is (2, 40, 32)");
}

TEST_F(VerifyTest, RefusesALossThatEndsWithAPlus) {
  EXPECT_THAT(refusal_of("swiglu_a", [](auto& file) { file.metadata["loss"] = "sum(y*w) + "; }),
              HasSubstr("the loss 'sum(y*w) + ' cannot be read"));
}

TEST_F(VerifyTest, SeparatesAnUnknownKindFromTheKnownOnes) {
  EXPECT_THAT(refusal_of("swiglu_a", [](auto& file) { file.metadata["kind"] = "foo/bar"; }),
              HasSubstr("unknown mixer 'foo/bar'; known mixers: attention, "));
}

TEST_F(VerifyTest, RefusesABlockWithoutItsNorm) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata.erase("block_norm"); }),
            "at level block the metadata need 'block_norm', the norm before the mixer, such as "
            "{\"kind\": \"rms_norm\", \"eps\": 1e-6}");
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.tensors.erase("norm.weight"); }),
            "the tensor 'norm.weight' (32) is missing; the block's norm has that parameter");
  EXPECT_EQ(
      refusal_of("swiglu_a", [](auto& file) { file.tensors["norm.weight"] = at::ones({31}); }),
      "the tensor 'norm.weight' is (31), and the block's norm's is (32)");
}

TEST_F(VerifyTest, RefusesAFileWithoutOptions) {
  EXPECT_EQ(
      refusal_of("swiglu_a", [](auto& file) { file.metadata.erase("options"); }),
      "this is no golden file: its metadata lack 'options' (they need kind, level and options)");
}

TEST_F(VerifyTest, RefusesMetadataOfAnotherLength) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata["T"] = "10"; }),
            "the metadata say T 10, and the tensor 'x' is (2, 17, 32)");
}

}  // namespace
}  // namespace echo
