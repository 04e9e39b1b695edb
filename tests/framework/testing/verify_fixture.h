#pragma once

#include "framework/src/files/safetensors.h"
#include "framework/src/testing/verify.h"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace echo {

// A few of the program's mixers, one of them also under the name of a plugin's, and a mixer that
// is not causal, "test/mean".
const Registry& known_mixers();

// Float32 numbers between -1 and 1, others for another phase.
at::Tensor some_numbers(const std::vector<int64_t>& shape, double phase);

// A golden file that one of the mixers makes itself: y, the state, the next tokens and the
// gradients of its loss, in float64. Width 8, one sequence.
struct Case {
  std::string kind = "linear_attention";
  std::string options = "{}";
  int64_t length = 13;
  at::Tensor mask;                                  // (1, T), where the mixer reads a prefix
  std::map<std::string, at::Tensor> state_weights;  // by the state's names: terms of the loss
};
NamedTensors computed(const Case& example);

// A file of level block around linear attention with one head, whose own norm and the block's have
// parameters of the same name and shape; the mixer's is "mixer.norm.weight".
NamedTensors computed_block();

// Tensor and way of all comparisons that fail.
std::vector<std::string> failed(const testing::Verification& verification);
bool compares(const testing::Verification& verification, const std::string& tensor);

// A file in a folder of its own, gone with the test.
class VerifyTest : public ::testing::Test {
 protected:
  using Change = std::function<void(NamedTensors&)>;

  VerifyTest();
  ~VerifyTest() override;

  std::filesystem::path golden(const std::string& name) const;  // of tests/golden
  std::filesystem::path written(const NamedTensors& content) const;
  // A file of tests/golden with something changed.
  std::filesystem::path changed(const std::string& name, const Change& change) const;

  testing::Verification verified(const std::filesystem::path& path,
                                 const std::string& kind = "") const;

  // What is said about a file that cannot be verified, without the path before it.
  std::string refusal(const std::filesystem::path& path, const std::string& kind = "") const;
  std::string refusal_of(const std::string& name, const Change& change) const;

  std::filesystem::path folder_;
};

}  // namespace echo
