#include "mixers/ska/heads.h"

#include "tests/mixers/ska/support.h"

#include <c10/core/GradMode.h>

namespace echo::ska {
namespace {

Heads strided_heads(bool normalise, bool weighted, at::ScalarType dtype) {
  at::Generator stream = generator(5, "heads");
  const at::Tensor packed = draw({2, 45, 40}, stream).to(dtype);
  const at::Tensor weight = draw({2, 45, 3}, stream).to(dtype);
  return {packed.slice(2, 8, 26).unflatten(2, {3, 6}), weighted ? weight : at::Tensor(), normalise};
}

TEST(HeadsTest, ChunksEqualTheReferenceInValueAndGradient) {
  at::Generator stream = generator(6, "previous");
  const at::Tensor before = draw({2, 3, 6}, stream);
  for (const bool normalise : {false, true}) {
    for (const bool weighted : {false, true}) {
      for (const bool extra : {false, true}) {
        for (const int64_t size : {45, 16, 15}) {
          const auto run = [&](at::Tensor (*function)(const Heads&, int64_t, const at::Tensor&)) {
            Heads heads = strided_heads(normalise, weighted, at::kDouble);
            heads.rows.requires_grad_(true);
            const at::Tensor previous = before.clone().requires_grad_(true);
            if (weighted) heads.weight.requires_grad_(true);
            const at::Tensor chunks = function(heads, size, extra ? previous : at::Tensor());
            at::Generator weights = generator(8, "w");
            (chunks * draw(chunks.sizes(), weights)).sum().backward();
            Tensors result{{"chunks", chunks}, {"rows", heads.rows.grad()}};
            if (weighted) result["weight"] = heads.weight.grad();
            if (extra) result["previous"] = previous.grad();
            return result;
          };
          expect_close(run(in_chunks), run(in_chunks_reference), 1e-12);
        }
      }
    }
  }
}

TEST(HeadsTest, ChunksInFloat32) {
  const Heads heads = strided_heads(true, true, at::kFloat);
  const Heads wide = strided_heads(true, true, at::kDouble);
  EXPECT_LE(testing::rms_ratio(in_chunks(heads, 16, {}), in_chunks_reference(wide, 16, {})), 1e-6);
}

TEST(HeadsTest, JoinsWhatItSplit) {
  const Heads heads = strided_heads(false, false, at::kDouble);
  EXPECT_TRUE(at::equal(join_time(in_chunks(heads, 16, {}), 45), heads.rows));
}

TEST(RootOfSigmoidTest, IsTheSameWithAndWithoutAGraph) {
  const at::Tensor logits =
      at::tensor({-200., -30., -1., 0., 2., 90.}, at::kDouble).view({1, 2, 3});
  const at::Tensor expected = root_of_sigmoid(logits.clone().requires_grad_(true)).detach();
  const c10::NoGradGuard no_grad;
  EXPECT_TRUE(at::allclose(root_of_sigmoid(logits), expected, 1e-14, 0));
  EXPECT_TRUE(
      at::allclose(root_of_sigmoid(logits.transpose(1, 2)), expected.transpose(1, 2), 1e-14, 0));
}

}  // namespace
}  // namespace echo::ska
