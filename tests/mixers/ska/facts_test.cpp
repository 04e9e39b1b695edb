// The facts of the README, section "Facts".
#include "mixers/ska/definition.h"
#include "mixers/ska/exact.h"
#include "tests/mixers/ska/support.h"

namespace echo::ska {
namespace {

Tensors after(const Case& c, const Tensors& in) {
  Statistics statistics = statistics_of(in);
  const Chunks chunks = chunks_of(c, in);
  const at::Tensor y = join_time(read_exact(chunks, c.reading, statistics), c.length);
  return outputs(y, statistics, last_key(chunks, c.length, in.at("z_prev"), at::Tensor()));
}

// Six keys again and again, of any weight, 0 included: with it goes their share of every pair.
Tensors weighted_inputs(const Case& c) {
  Tensors in = inputs_of(c, true);
  in["keys"] = in["keys"].index_select(1, at::arange(c.length).remainder(6));
  at::Generator stream = generator(11, "beta");
  const at::Tensor beta = at::empty({c.batch, c.length, c.heads, 1}, at::kDouble);
  in["keys"] = in["keys"] * at::relu(beta.uniform_(-0.5, 3, stream)).sqrt();
  return in;
}

TEST(FactsTest, TheKoopmanOperatorIsContractive) {
  const Case c{.length = 120, .reading = {.power = 1, .ridge = 1e-3}};
  const Tensors out = after(c, weighted_inputs(c));
  const at::Tensor L = at::linalg_cholesky(out.at("G"));
  const at::Tensor half = at::linalg_solve_triangular(L, out.at("M"), /*upper=*/false);
  const at::Tensor A = at::linalg_solve_triangular(L, half.mT(), /*upper=*/false).mT();
  const at::Tensor norm = at::linalg_svdvals(A).amax(-1);
  const at::Tensor bound = 1 - c.reading.ridge / at::linalg_eigvalsh(out.at("G")).amax(-1);
  EXPECT_TRUE((norm <= bound + 1e-12).all().item<bool>());
  EXPECT_GT(norm.min().item<double>(), 0.7);  // so the bound says something
}

TEST(FactsTest, ThePapersReadNeedsNoFactor) {
  const Case c{.length = 40, .reading = {.power = 2}};
  const Tensors in = inputs_of(c, true);
  const Tensors out = after(c, in);
  const at::Tensor L = at::linalg_cholesky(out.at("G"));
  const at::Tensor half = at::linalg_solve_triangular(L, out.at("M"), /*upper=*/false);
  const at::Tensor A = at::linalg_solve_triangular(L, half.mT(), /*upper=*/false).mT();
  const at::Tensor q = in.at("queries").select(1, c.length - 1).unsqueeze(-1);
  at::Tensor w = at::linalg_solve_triangular(L, q, /*upper=*/false);
  for (int64_t k = 0; k < c.reading.power; ++k) w = at::matmul(A, w);
  const at::Tensor y = at::matmul(out.at("C"), at::cholesky_solve(at::matmul(L, w), L)).squeeze(-1);
  EXPECT_LE(testing::rms_ratio(out.at("y").select(1, c.length - 1), y), 1e-12);
}

// The statistics of two parts that were read apart, joined.
TEST(FactsTest, StatesAdd) {
  for (const bool value_lag : {false, true}) {
    const Case whole{.length = 90, .reading = {.power = 1, .value_lag = value_lag}};
    const Tensors in = inputs_of(whole, true);
    const auto part = [&](int64_t first, int64_t last) {
      Case c = whole;
      c.length = last - first;
      Tensors tokens = in;
      for (const char* name : {"keys", "queries", "values"})
        tokens[name] = in.at(name).slice(1, first, last);
      return after(c, tokens);
    };
    const Tensors first = part(0, 50), second = part(50, 90), expected = after(whole, in);
    const auto outer = [](const at::Tensor& a, const at::Tensor& b) {
      return a.unsqueeze(-1) * b.unsqueeze(-2);
    };
    const at::Tensor z = in.at("keys").select(1, 50), v = in.at("values").select(1, 50);
    const at::Tensor identity = at::eye(whole.rank, at::kDouble);
    Tensors joined;
    joined["G"] = first.at("G") + second.at("G") - whole.reading.ridge * identity;
    joined["M"] = first.at("M") + second.at("M") + outer(z, first.at("z_prev"));
    joined["C"] = first.at("C") + second.at("C");
    if (value_lag) joined["C"] += outer(v, first.at("z_prev"));
    expect_close(
        joined, {{"G", expected.at("G")}, {"M", expected.at("M")}, {"C", expected.at("C")}}, 1e-12);
  }
}

// As many independent keys as the rank: each gives its value back as the ridge goes to zero. One
// more key, and it cannot.
TEST(FactsTest, RecallsAsManyPairsAsTheRank) {
  for (const int64_t pairs : {6, 7}) {
    const Case c{.batch = 1, .length = pairs, .heads = 1, .reading = {.power = 0, .ridge = 1e-9}};
    const Tensors in = inputs_of(c, true);
    const Tensors out = after(c, in);
    const at::Tensor keys = in.at("keys").select(2, 0)[0];      // (pairs, R)
    const at::Tensor values = in.at("values").select(2, 0)[0];  // (pairs, P)
    const at::Tensor read =
        at::matmul(out.at("C")[0][0], at::linalg_inv(out.at("G")[0][0])).matmul(keys.mT()).mT();
    const double error = testing::rms_ratio(read, values);
    if (pairs <= c.rank) {
      EXPECT_LE(error, 1e-5);
    } else {
      EXPECT_GE(error, 1e-2);
    }
  }
}

// Distinct keys: power 1 moves one token on, value_lag does so without M.
TEST(FactsTest, APowerMovesOneTokenOn) {
  Case c{.batch = 1, .length = 6, .heads = 1, .reading = {.power = 1, .ridge = 1e-9}};
  Tensors in = inputs_of(c, true);
  in["keys"] = at::eye(6, at::kDouble).view({1, 6, 1, 6});
  in["queries"] = in["keys"].select(1, 2).unsqueeze(1).expand({1, 6, 1, 6}).clone();
  const at::Tensor next = in["values"].select(1, 3);
  EXPECT_LE(testing::rms_ratio(after(c, in).at("y").select(1, 5), next), 1e-6);
  c.reading = {.power = 0, .value_lag = true, .ridge = 1e-9};
  in.erase("M");
  EXPECT_LE(testing::rms_ratio(after(c, in).at("y").select(1, 5), next), 1e-6);
}

}  // namespace
}  // namespace echo::ska
