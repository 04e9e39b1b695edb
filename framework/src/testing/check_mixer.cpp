#include "framework/src/testing/checks.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

namespace echo::testing {

namespace {

struct NamedCheck {
  const char* id;
  Check check;
};

constexpr std::array<NamedCheck, 13> kChecks = {{{"fields", check_fields},
                                                 {"alive", check_alive},
                                                 {"shape", check_shape},
                                                 {"causal", check_causal},
                                                 {"batch", check_batch},
                                                 {"split", check_split},
                                                 {"starts", check_starts},
                                                 {"grad", check_grad},
                                                 {"state", check_state},
                                                 {"dtypes", check_dtypes},
                                                 {"threads", check_threads},
                                                 {"ranks", check_ranks},
                                                 {"flops", check_flops}}};

// The checks' tensors are small: a second thread only waits, most of all on a busy machine. The
// check that compares bits of repeated runs keeps all threads.
class FewThreads {
 public:
  explicit FewThreads(int count) { at::set_num_threads(count); }
  ~FewThreads() { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};

CheckResult result_of(const NamedCheck& named, const Subject& subject) {
  try {
    c10::AutoGradMode gradients_on(true);
    const FewThreads threads(named.check == check_batch ? at::get_num_threads() : 1);
    return {named.id, true, named.check(subject)};
  } catch (const Failure& failure) {
    return {named.id, false, failure.what()};
  } catch (const c10::Error& error) {
    return {named.id, false, std::string("threw: ") + error.what_without_backtrace()};
  } catch (const std::exception& exception) {
    return {named.id, false, std::string("threw: ") + exception.what()};
  }
}

}  // namespace

std::vector<std::string> mixer_checks() {
  std::vector<std::string> ids;
  for (const NamedCheck& named : kChecks) ids.emplace_back(named.id);
  return ids;
}

std::vector<CheckResult> check_mixer(const MixerKind& kind, const Options& options,
                                     const CheckSettings& settings) {
  const std::vector<std::string> ids = mixer_checks();
  for (const std::string& id : settings.only) {
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) continue;
    std::string known;
    for (const std::string& other : ids) known += (known.empty() ? "" : ", ") + other;
    throw Error("there is no check '" + id + "'; the checks of a mixer are " + known);
  }
  const Subject subject(kind, options, settings);
  std::vector<CheckResult> results;
  for (const NamedCheck& named : kChecks) {
    const auto& only = settings.only;
    if (only.empty() || std::find(only.begin(), only.end(), named.id) != only.end())
      results.push_back(result_of(named, subject));
  }
  return results;
}

}  // namespace echo::testing
