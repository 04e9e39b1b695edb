#pragma once

#include "framework/src/model/norm.h"
#include "framework/src/testing/golden.h"

#include <echo/registry.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace echo::testing {

// The mixer of a golden file, with the norm around it at level block, and the file's parameters in
// one dtype. Throws ConfigError for tensors that are missing, ambiguous, left over or of another
// shape.
class GoldenLayer {
 public:
  GoldenLayer(const Golden& golden, const MixerKind& kind, const Options& options,
              at::ScalarType dtype);

  at::Tensor operator()(const at::Tensor& x, const Span& span);  // what the file calls y

  Mixer& mixer() { return *mixer_; }
  at::ScalarType dtype() const { return dtype_; }
  at::Tensor tensor(const std::string& name) const { return golden_.tensors.at(name).to(dtype_); }
  State initial_state() const;  // for all tokens of the file

  // By the names of the file.
  const std::vector<std::pair<std::string, Parameter>>& parameters() const { return parameters_; }
  // Tensors that nothing here reads.
  const std::set<std::string>& unused() const { return unused_; }

 private:
  std::string name_in_file(const Parameter& parameter) const;  // of the mixer's
  void add(const std::string& name, const Parameter& parameter, const std::string& owner);
  void find_unused(const std::string& kind);

  const Golden& golden_;
  at::ScalarType dtype_;
  std::unique_ptr<Mixer> mixer_;
  std::unique_ptr<Norm> norm_;  // null at level layer
  std::vector<std::pair<std::string, Parameter>> parameters_;
  std::set<std::string> unused_;
};

}  // namespace echo::testing
