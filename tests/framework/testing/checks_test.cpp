// A right mixer passes the kit, and for every check there is a wrong one that fails it.
#include <echo/linear.h>
#include <echo/stretch.h>
#include <echo/testing.h>

#include <cstring>
#include <thread>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

enum class Fault {
  none,
  dead_parameter,
  blind_to_the_past,
  writes_to_x,
  writes_past_the_counter,
  reads_ahead,
  mixes_rows,
  draws_anew,
  reads_padding,
  forgets_at_cuts,
  keeps_no_graph,
  counts_on_the_host,
  ignores_starts,
  wrong_gradient,
  larger_state,
  hidden_memory,
  rounds_its_memory,
  overflows,
  differs_in_threads,
  ignores_other_ranks,
  states_less_work,
  throws,
};

struct AverageOptions {
  Fault fault = Fault::none;
  void visit(Fields&) {}
};

// s_t = d s_{t-1} + (1 - d) x_t, y_t = project(x_t) * s_t, with one thing wrong.
class Average final : public Mixer {
 public:
  Average(const AverageOptions& options, const Place& place)
      : Mixer(place),
        fault_(options.fault),
        width_(place.width),
        decay_(parameter("decay", {place.width}, init::uniform(0.2, 0.6))),
        project_(child("", std::make_unique<Linear>(
                               place.width, std::vector<LinearBlock>{{"project", place.width}},
                               place.options))) {
    traits_.stretch = true;
    traits_.replays = true;
    if (fault_ == Fault::dead_parameter) parameter("dead", {2}, init::ones());
  }

  const Traits& traits() const override { return traits_; }
  int64_t flops(int64_t batch, int64_t length) const override {
    return project_.flops(batch * length) / (fault_ == Fault::states_less_work ? 2 : 1);
  }
  State initial_state(const StateOptions& options) const override {
    State state(options.batch, options.device);
    const at::ScalarType kept = options.dtype == at::kDouble ? at::kDouble : at::kFloat;
    state.add("s", at::zeros({options.batch, width_}, at::TensorOptions().dtype(kept)));
    return state;
  }

 protected:
  at::Tensor forward(const at::Tensor& x, const Span& span) override {
    if (fault_ == Fault::throws) throw std::runtime_error("out of luck");
    if (fault_ == Fault::writes_to_x) x.add_(0);
    if (fault_ == Fault::writes_past_the_counter) std::memset(x.data_ptr(), 0, 1);
    at::Tensor y = project_(x).to(decay_.scalar_type()) * averages(x, span);
    if (fault_ == Fault::mixes_rows) y = y + x.mean(0, true);
    if (fault_ == Fault::draws_anew) y = y + at::rand({}, y.options());
    if (fault_ == Fault::overflows) y = y + x.pow(20).mul(1e-30) * 0;
    static const std::thread::id first = std::this_thread::get_id();
    if (fault_ == Fault::differs_in_threads && std::this_thread::get_id() != first) y = y * 2;
    return y.to(x.scalar_type());
  }

 private:
  at::Tensor averages(const at::Tensor& x, const Span& span) {
    const at::ScalarType dtype = statistics_dtype();
    at::Tensor wide = x.to(dtype);
    if (fault_ == Fault::reads_ahead) wide = wide + wide.roll(-1, 1) * 1e-3;
    at::Tensor s = at::zeros({x.size(0), width_}, wide.options());
    if (span.state && fault_ != Fault::forgets_at_cuts) s = span.state->get("s").to(dtype);
    if (fault_ == Fault::counts_on_the_host) {
      const int64_t first = span.state ? span.state->longest() : 0;
      const at::Tensor token = at::arange(first, first + x.size(1));
      wide = wide.masked_fill(token.remainder(7).eq(3).view({1, -1, 1}), 0);
    }
    if (fault_ == Fault::hidden_memory && span.state && span.state->longest() > 0) s = s_;
    at::Tensor decay = fault_ == Fault::wrong_gradient ? decay_.detach() + 0 * decay_ : decay_;
    if (fault_ == Fault::wrong_gradient) decay = decay + (decay_ - decay_.detach()) * 0.5;
    if (span.stretch && fault_ != Fault::ignores_other_ranks)
      s = arriving(wide, decay, span).finish();
    std::vector<at::Tensor> all;
    for (int64_t t = 0; t < x.size(1); ++t) {
      at::Tensor before = s;
      if (span.starts.defined() && fault_ != Fault::ignores_starts)
        before = s.masked_fill(span.starts.select(1, t).unsqueeze(1), 0);
      at::Tensor next = before * decay + wide.select(1, t) * (1 - decay);
      if (fault_ == Fault::rounds_its_memory && dtype == at::kFloat)
        next = next.to(at::kFloat8_e5m2).to(dtype);
      all.push_back(fault_ == Fault::blind_to_the_past ? wide.select(1, t) : next);
      const bool padded = span.lengths.defined() && fault_ != Fault::reads_padding;
      s = padded ? at::where((span.lengths > t).unsqueeze(1), next, s) : next;
    }
    if (span.state) {
      at::Tensor kept = s.to(span.state->get("s").scalar_type());
      if (fault_ == Fault::keeps_no_graph) kept = kept.detach();
      if (fault_ == Fault::larger_state) kept = at::cat({kept, kept}, 1).narrow(1, 0, 2 * width_);
      if (fault_ == Fault::larger_state) {
        span.state->add("copy", kept);
      } else {
        span.state->set("s", kept);
      }
      if (fault_ == Fault::hidden_memory) s_ = s.detach();
    }
    return at::stack(all, 1);
  }

  // s before this part: its tokens lead from s to transition s + added.
  static Arrival arriving(const at::Tensor& wide, const at::Tensor& decay, const Span& span) {
    at::Tensor transition = at::ones({wide.size(0), 1, wide.size(2)}, wide.options());
    at::Tensor added = at::zeros_like(transition);
    for (int64_t t = 0; t < wide.size(1); ++t) {
      at::Tensor factor = decay.expand_as(transition), now = wide.narrow(1, t, 1) * (1 - decay);
      const auto where = [&](const at::Tensor& rows, const at::Tensor& x, const at::Tensor& y) {
        return at::where(rows.view({-1, 1, 1}), x, y);
      };
      if (span.starts.defined())
        factor = where(span.starts.select(1, t), at::zeros_like(factor), factor);
      at::Tensor next = factor * added + now, across = factor * transition;
      const at::Tensor here =
          span.lengths.defined() ? span.lengths > t : at::ones({wide.size(0)}, at::kBool);
      added = where(here, next, added);
      transition = where(here, across, transition);
    }
    // A head, whose rows are the channels.
    Arrival memory = span.stretch->prefix_compose(transition, added.unsqueeze(3), "averages");
    return Arrival([memory]() mutable { return memory.finish().squeeze(3).squeeze(1); });
  }

  Fault fault_;
  int64_t width_;
  at::Tensor decay_;
  Linear& project_;
  at::Tensor s_;
  Traits traits_;
};

std::vector<testing::CheckResult> results(Fault fault, std::vector<std::string> only = {}) {
  Registry registry;
  registry.add_mixer<Average, AverageOptions>("average", "a decaying average");
  OptionsOf<AverageOptions> options;
  options.value.fault = fault;
  return testing::check_mixer(*registry.mixers.find("average"), options,
                              {.width = 4, .only = std::move(only)});
}

// The detail of the check that must fail.
std::string failure(Fault fault, const std::string& id) {
  const testing::CheckResult result = results(fault, {id}).at(0);
  EXPECT_FALSE(result.passed) << id;
  return result.detail;
}

using ::testing::HasSubstr;

TEST(ChecksTest, ARightMixerPassesAll) {
  for (const testing::CheckResult& result : results(Fault::none))
    EXPECT_TRUE(result.passed) << result.id << ": " << result.detail;
}

TEST(ChecksTest, ResultsComeInTheOrderOfTheChecks) {
  std::vector<std::string> ids;
  for (const testing::CheckResult& result : results(Fault::throws)) ids.push_back(result.id);
  EXPECT_EQ(ids, testing::mixer_checks());
}

TEST(ChecksTest, AliveFailsForAParameterWithoutGradient) {
  EXPECT_EQ(failure(Fault::dead_parameter, "alive"), "the gradient of dead is zero");
}

TEST(ChecksTest, AliveFailsWhenAClaimedMemoryIsNotRead) {
  EXPECT_EQ(failure(Fault::blind_to_the_past, "alive"),
            "the output of a token depends on no token before it");
}

TEST(ChecksTest, AliveTakesNamedSilentParameters) {
  Registry registry;
  registry.add_mixer<Average, AverageOptions>("average", "a decaying average");
  OptionsOf<AverageOptions> options;
  options.value.fault = Fault::dead_parameter;
  const auto result = testing::check_mixer(*registry.mixers.find("average"), options,
                                           {.width = 4, .only = {"alive"}, .silent = {"dead"}});
  EXPECT_TRUE(result.at(0).passed) << result.at(0).detail;
}

TEST(ChecksTest, ShapeFailsWhenXIsWrittenTo) {
  EXPECT_THAT(failure(Fault::writes_to_x, "shape"), HasSubstr("changed its input x in place"));
  EXPECT_THAT(failure(Fault::writes_past_the_counter, "shape"), HasSubstr("x was written to"));
}

TEST(ChecksTest, CausalFailsForALookAhead) {
  EXPECT_THAT(failure(Fault::reads_ahead, "causal"), HasSubstr("not the same bits"));
}

TEST(ChecksTest, BatchFailsForRowsThatMix) {
  EXPECT_THAT(failure(Fault::mixes_rows, "batch"), HasSubstr("alone against in a batch"));
}

TEST(ChecksTest, BatchFailsForDrawsThatDiffer) {
  EXPECT_THAT(failure(Fault::draws_anew, "batch"), HasSubstr("RMS ratio"));
}

TEST(ChecksTest, BatchFailsWhenPaddingChangesTheState) {
  EXPECT_THAT(failure(Fault::reads_padding, "batch"), HasSubstr("state 's', row 1 padded"));
}

TEST(ChecksTest, SplitFailsWhenTheStateIsNotRead) {
  EXPECT_THAT(failure(Fault::forgets_at_cuts, "split"), HasSubstr("cut before token"));
}

TEST(ChecksTest, SplitFailsWhenGradientsStopAtTheState) {
  EXPECT_THAT(failure(Fault::keeps_no_graph, "split"), HasSubstr("gradient of x, "));
}

TEST(ChecksTest, SplitFailsWhenAReplayCountsOnTheHost) {
  EXPECT_THAT(failure(Fault::counts_on_the_host, "split"), HasSubstr("replayed from token 1 on"));
}

TEST(ChecksTest, StartsFailsWhenTheyAreIgnored) {
  EXPECT_THAT(failure(Fault::ignores_starts, "starts"), HasSubstr("document from token"));
}

TEST(ChecksTest, GradFailsForAWrongDerivative) {
  EXPECT_THAT(failure(Fault::wrong_gradient, "grad"), HasSubstr("gradient of decay"));
}

TEST(ChecksTest, StateFailsForMoreBytesThanDeclared) {
  EXPECT_THAT(failure(Fault::larger_state, "state"), HasSubstr("bytes after 48 tokens"));
}

TEST(ChecksTest, StateFailsForAMemoryThatNoFileKeeps) {
  EXPECT_THAT(failure(Fault::hidden_memory, "state"), HasSubstr("outputs"));
}

TEST(ChecksTest, DtypesFailsForAMemoryOfFewDigits) {
  EXPECT_THAT(failure(Fault::rounds_its_memory, "dtypes"), HasSubstr("RMS ratio to float64"));
}

TEST(ChecksTest, DtypesFailsForOverflow) {
  EXPECT_THAT(failure(Fault::overflows, "dtypes"), HasSubstr("is not finite"));
}

TEST(ChecksTest, ThreadsFailsWhenAThreadDiffers) {
  EXPECT_THAT(failure(Fault::differs_in_threads, "threads"), HasSubstr("of a thread"));
}

TEST(ChecksTest, RanksFailsWhenThePartsBeforeAreIgnored) {
  EXPECT_THAT(failure(Fault::ignores_other_ranks, "ranks"),
              HasSubstr("y, one document, 2 ranks: RMS ratio"));
}

TEST(ChecksTest, FlopsFailsForHalfOfTheWork) {
  EXPECT_THAT(failure(Fault::states_less_work, "flops"), HasSubstr("its matrix products are"));
}

// Options of a right mixer, declared in a wrong way.
struct Declared : AverageOptions {
  enum class Mistake { none, no_help, twice, no_default, no_refusal, written_otherwise };
  Mistake mistake = Mistake::none;
  int64_t heads = 2;
  double rate = 0.5;

  void visit(Fields& fields) {
    fields("heads", heads, mistake == Mistake::no_help ? "" : "heads", at_least(1));
    if (mistake == Mistake::twice) fields("heads", heads, "heads again", at_least(1));
    if (mistake == Mistake::written_otherwise) rate /= 2;
    fields("rate", rate, "of forgetting", above(0));
  }
  void complete(const Place& place) {
    if (mistake == Mistake::no_default && place.width > 100)
      throw FieldError("heads", "give heads");
    if (mistake == Mistake::no_refusal && heads == 1) throw std::out_of_range("vector");
  }
};

std::string declared(Declared::Mistake mistake) {
  MixerKind kind;
  kind.name = "declared";
  kind.options = [mistake] {
    auto options = std::make_unique<OptionsOf<Declared>>();
    options->value.mistake = mistake;
    return options;
  };
  kind.complete = [](Options& options, const Place& place) {
    static_cast<OptionsOf<Declared>&>(options).value.complete(place);
  };
  kind.make = [](const Options& options, const Place& place) {
    return std::make_unique<Average>(static_cast<const OptionsOf<Declared>&>(options).value, place);
  };
  const testing::CheckResult result =
      testing::check_mixer(kind, *kind.options(), {.width = 4, .only = {"fields"}}).at(0);
  EXPECT_EQ(result.passed, mistake == Declared::Mistake::none);
  return result.detail;
}

TEST(ChecksTest, FieldsPassesForFieldsThatAreDescribed) {
  EXPECT_EQ(declared(Declared::Mistake::none), "2 fields");
}

TEST(ChecksTest, FieldsFailsForOneWithoutHelp) {
  EXPECT_EQ(declared(Declared::Mistake::no_help), "the field 'heads' has no help");
}

TEST(ChecksTest, FieldsFailsForOneThatIsDeclaredTwice) {
  EXPECT_EQ(declared(Declared::Mistake::twice), "the field 'heads' is declared twice");
}

TEST(ChecksTest, FieldsFailsForDefaultsThatDoNotBuild) {
  EXPECT_EQ(declared(Declared::Mistake::no_default),
            "the defaults build no mixer of width 1024: give heads");
}

TEST(ChecksTest, FieldsFailsForAnAllowedValueThatIsNotRefusedByItsName) {
  EXPECT_EQ(declared(Declared::Mistake::no_refusal),
            "heads 1 is neither built nor refused by a FieldError: vector");
}

TEST(ChecksTest, FieldsFailsForOptionsThatDoNotSurviveWriting) {
  EXPECT_THAT(declared(Declared::Mistake::written_otherwise),
              HasSubstr("the options change when they are written out and read"));
}

TEST(ChecksTest, AnExceptionIsAFailureWithItsMessage) {
  EXPECT_EQ(failure(Fault::throws, "causal"), "threw: out of luck");
}

TEST(ChecksTest, RefusesACheckThatDoesNotExist) {
  try {
    results(Fault::none, {"casual"});
    FAIL() << "'casual' was taken";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "there is no check 'casual'; the checks of a mixer are fields, alive, shape, "
                 "causal, batch, split, starts, grad, state, dtypes, threads, ranks, flops");
  }
}

}  // namespace
}  // namespace echo
