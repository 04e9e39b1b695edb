#include "tests/framework/testing/verify_fixture.h"

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Verification;

TEST_F(VerifyTest, AWrongOutputFailsInEveryWay) {
  const auto path = changed("linear_attn_layer", [](auto& file) { file.tensors["y"] *= 1.001; });
  const Verification verification = verified(path);
  EXPECT_FALSE(verification.passed());
  EXPECT_THAT(failed(verification), ElementsAre("y whole", "y split", "y single tokens"));
}

TEST_F(VerifyTest, AWrongGradientFailsAlone) {
  const auto path =
      changed("linear_attn_layer", [](auto& file) { file.tensors["d_k_proj.weight"] *= 1.001; });
  EXPECT_THAT(failed(verified(path)), ElementsAre("d_k_proj.weight all ways"));
}

TEST_F(VerifyTest, AWrongStateFailsAndWhatFollowsFromItToo) {
  const auto path =
      changed("linear_attn_layer", [](auto& file) { file.tensors["state.S"] *= 1.001; });
  EXPECT_THAT(failed(verified(path)), ElementsAre("y_next file's state", "state.S all ways"));
}

TEST_F(VerifyTest, OptionsThatAreLeftOutHaveTheirDefaults) {
  const auto path = changed("attention_mha_rope",
                            [](auto& file) { file.metadata["options"] = R"({"heads": 4})"; });
  EXPECT_TRUE(verified(path).passed());
}

TEST_F(VerifyTest, AnotherKindRunsTheSameFile) {
  const Verification verification = verified(golden("linear_attn_layer"), "test/linear_attention");
  EXPECT_TRUE(verification.passed());
  EXPECT_EQ(verification.kind, "test/linear_attention");
}

TEST_F(VerifyTest, AFileMayLackStatesNextTokensAndGradients) {
  const auto path = changed("attention_gqa_window_qknorm", [](auto& file) {
    const NamedTensors all = file;
    for (const auto& [name, tensor] : all.tensors) {
      if (name.rfind("d", 0) == 0 || name.rfind("state", 0) == 0 || name == "w" ||
          name.find("_next") != std::string::npos)
        file.tensors.erase(name);
    }
    file.metadata.erase("width");
    file.metadata.erase("loss");
  });
  const Verification verification = verified(path);
  EXPECT_TRUE(verification.passed());
  EXPECT_EQ(verification.comparisons.size(), 3);
}

TEST_F(VerifyTest, AStateThatTheMixerLacksIsNoted) {
  const auto path = changed("linear_attn_identity", [](auto& file) {
    file.tensors["state.z"] = at::zeros({2, 4, 8});
  });
  const Verification verification = verified(path);
  EXPECT_TRUE(verification.passed());
  EXPECT_THAT(verification.notes,
              ElementsAre("state.z: the mixer's state has no such tensor with these options"));
}

TEST_F(VerifyTest, TensorsForOtherReadersAreNoted) {
  const auto path =
      changed("linear_attn_identity", [](auto& file) { file.tensors["cosine"] = at::zeros({2}); });
  EXPECT_THAT(verified(path).notes, ElementsAre("cosine: not used"));
}

// A file of linear attention whose loss also reads the state.
NamedTensors with_state_loss(int64_t length) {
  return computed({.length = length, .state_weights = {{"S", some_numbers({1, 4, 2, 2}, 0.3)}}});
}

TEST_F(VerifyTest, ALossMayReadTheState) {
  const Verification verification = verified(written(with_state_loss(13)));
  EXPECT_TRUE(verification.passed()) << ::testing::PrintToString(failed(verification));
  NamedTensors other = with_state_loss(13);
  other.metadata["loss"] = "sum(y*w)";
  EXPECT_FALSE(verified(written(other)).passed());
}

TEST_F(VerifyTest, OneTokenIsEnough) {
  // Without d_q_proj: after one token the norm leaves nothing of q's size but rounding.
  NamedTensors file = with_state_loss(1);
  file.tensors.erase("d_q_proj.weight");
  const Verification verification = verified(written(file));
  EXPECT_TRUE(verification.passed()) << ::testing::PrintToString(failed(verification));
  EXPECT_TRUE(compares(verification, "y"));
  EXPECT_THAT(verification.notes, ElementsAre("d_q_proj.weight: not in the file"));
}

TEST_F(VerifyTest, AGradientThatIsZeroButForRoundingOnlyHasToBeSmall) {
  NamedTensors file = with_state_loss(5);
  // Of the loss of nothing but y - y, all are zero; of this one, only that of the norm.
  at::Tensor gradient = file.tensors["d_norm.weight"];
  file.tensors["w"].zero_();
  const Verification before = verified(written(file));
  EXPECT_FALSE(before.passed());  // the gradients belong to the other loss
  file.tensors["dx"] = at::zeros_like(file.tensors["dx"]);
  EXPECT_THAT(verified(written(file)).notes, ::testing::IsEmpty());
  file.tensors["d_norm.weight"] = at::full_like(gradient, 1e-20);
  const Verification after = verified(written(file));
  EXPECT_THAT(after.notes,
              ElementsAre("d_norm.weight: identically zero, so only its size is tested"));
  for (const testing::Comparison& row : after.comparisons) {
    if (row.tensor == "d_norm.weight") {
      EXPECT_TRUE(row.passed);
    }
  }
}

TEST_F(VerifyTest, SkaMayBeLessExactInFloat32) {
  testing::Golden file = testing::read_golden(golden("linear_attn_layer"));
  EXPECT_EQ(testing::allowed_ratios(file, at::kFloat).output, 1e-5);
  file.kind = "ska";
  EXPECT_EQ(testing::allowed_ratios(file, at::kFloat).output, 1e-3);
  EXPECT_EQ(testing::allowed_ratios(file, at::kDouble).output, 1e-6);
}

TEST_F(VerifyTest, RefusesACoreFile) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata["level"] = "core"; }),
            "this is a core file, a bare recurrence without a layer around it: unit tests in the "
            "mixer's folder read those; give a file of level layer or block");
}

TEST_F(VerifyTest, RefusesAnotherLevel) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata["level"] = "model"; }),
            "the level is 'model'; allowed: layer, block");
}

TEST_F(VerifyTest, RefusesAFileWithoutMetadata) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata.clear(); }),
            "this is no golden file: its metadata lack 'kind' (they need kind, level and options)");
}

TEST_F(VerifyTest, RefusesAFileThatIsNoSafetensors) {
  const auto path = std::filesystem::path(ECHO_SOURCE_DIR) / "CMakeLists.txt";
  EXPECT_THAT(refusal(path), HasSubstr("cannot read " + path.string() + " as safetensors"));
}

TEST_F(VerifyTest, RefusesATruncatedFile) {
  const auto path = changed("swiglu_a", [](auto&) {});
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 100);
  EXPECT_THAT(refusal(path), HasSubstr("cut off?"));
}

TEST_F(VerifyTest, RefusesAFileThatIsNotThere) {
  EXPECT_THAT(refusal(folder_ / "none.safetensors"), HasSubstr("No such file"));
}

TEST_F(VerifyTest, RefusesAnUnknownKindAndNamesTheNearest) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata["kind"] = "swigloo"; }),
            "unknown mixer 'swigloo'; did you mean 'swiglu'? Known mixers: attention, "
            "linear_attention, ska, swiglu, test/linear_attention, test/mean; kinds of a plugin "
            "need --plugin FILE, and --mixer runs the file through another kind");
  EXPECT_THAT(refusal(golden("swiglu_a"), "swigloo"),
              HasSubstr("--mixer: unknown mixer 'swigloo'; did you mean 'swiglu'?"));
}

TEST_F(VerifyTest, RefusesOptionsThatTheKindLacks) {
  EXPECT_EQ(
      refusal_of("swiglu_a", [](auto& file) { file.metadata["options"] = R"({"hiden": 64})"; }),
      "options.hiden: 'swiglu' has no such field; did you mean 'hidden'? Its fields: hidden");
  EXPECT_THAT(refusal(golden("attention_mha_rope"), "linear_attention"),
              HasSubstr("'linear_attention' has no such field"));
}

TEST_F(VerifyTest, RefusesOptionsOfAnotherTypeOrRange) {
  EXPECT_THAT(refusal_of("swiglu_a",
                         [](auto& file) { file.metadata["options"] = R"({"hidden": "many"})"; }),
              HasSubstr("options.hidden: expected an integer"));
  EXPECT_EQ(
      refusal_of("swiglu_a", [](auto& file) { file.metadata["options"] = R"({"hidden": 0})"; }),
      "options.hidden: 0 is out of range; allowed: at least 1");
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata["options"] = "hidden"; }),
            "the metadata 'options' are no JSON object: hidden");
}

TEST_F(VerifyTest, RefusesOptionsThatDoNotFitEachOther) {
  EXPECT_EQ(
      refusal_of("attention_mha_rope",
                 [](auto& file) { file.metadata["options"] = R"({"heads": 4, "kv_heads": 3})"; }),
      "options.kv_heads: kv_heads is 3, which does not divide the 4 heads");
}

TEST_F(VerifyTest, RefusesAFileWithoutAParameter) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.tensors.erase("up_proj.weight"); }),
            "the tensor 'up_proj.weight' (64, 32) is missing; with these options the mixer has "
            "that parameter");
  EXPECT_THAT(refusal_of("swiglu_a", [](auto& file) { file.tensors.erase("norm.weight"); }),
              HasSubstr("'norm.weight' (32) is missing"));
}

TEST_F(VerifyTest, RefusesAParameterThatTheMixerLacks) {
  EXPECT_EQ(
      refusal_of("swiglu_a", [](auto& file) { file.tensors["bias_proj.weight"] = at::zeros({1}); }),
      "the tensor 'bias_proj.weight' is no parameter of swiglu with these options; its "
      "parameters: gate_proj.weight, up_proj.weight, down_proj.weight, norm.weight");
}

TEST_F(VerifyTest, RefusesAParameterOfAnotherShape) {
  EXPECT_EQ(refusal_of("swiglu_a",
                       [](auto& file) {
                         at::Tensor& weight = file.tensors["up_proj.weight"];
                         weight = weight.t().contiguous();
                       }),
            "the tensor 'up_proj.weight' is (32, 64), and with these options the mixer's is "
            "(64, 32)");
}

TEST_F(VerifyTest, RefusesTokensOfOtherShapes) {
  EXPECT_EQ(refusal_of("swiglu_a",
                       [](auto& file) {
                         file.tensors["y"] = at::zeros({2, 16, 32});
                       }),
            "the tensor 'y' is (2, 16, 32), and should be (2, 17, 32)");
  EXPECT_EQ(refusal_of("swiglu_a",
                       [](auto& file) {
                         file.tensors["x"] = at::zeros({17, 32});
                       }),
            "the tensor 'x' is (17, 32); allowed: (B, T, D)");
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.tensors.erase("x"); }),
            "the tensor 'x' is missing");
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata["width"] = "48"; }),
            "the metadata say width 48, and the tensor 'x' is (2, 17, 32)");
  EXPECT_EQ(refusal_of("attention_mha_rope", [](auto& file) { file.tensors.erase("y_next"); }),
            "x_next and y_next go together: one of them is missing");
}

TEST_F(VerifyTest, RefusesAStateOfAnotherShape) {
  EXPECT_EQ(refusal_of("linear_attn_layer",
                       [](auto& file) {
                         file.tensors["state.S"] = at::zeros({2, 2, 4, 4});
                       }),
            "the tensor 'state.S' is (2, 2, 4, 4), and with these options the mixer's is "
            "(2, 2, 16, 16)");
}

TEST_F(VerifyTest, RefusesALossThatItCannotRead) {
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.metadata["loss"] = "mean(y)"; }),
            "the loss 'mean(y)' cannot be read; allowed: sum(y*w), with terms such as + "
            "sum(state.S*w_S)");
  EXPECT_EQ(refusal_of("swiglu_a", [](auto& file) { file.tensors.erase("w"); }),
            "the tensor 'w' of the loss is missing");
}

}  // namespace
}  // namespace echo
