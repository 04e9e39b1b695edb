#pragma once

#include "framework/src/testing/speed.h"

#include <filesystem>
#include <memory>
#include <string>

namespace echo::testing {

// Somebody else's implementation of a mixer, timed in a process of its own: a script in Python,
// <kind>.peer.py in the folder of the library that brings the kind. It takes part in the rounds of
// measure_speed. How such a script looks: README.md.
class Peer {
 public:
  // Starts ECHO_PYTHON (python3) with the layer of these sizes. `fields`: the mixer's, as JSON.
  // Never throws for what a user's machine lacks: see missing().
  Peer(const std::filesystem::path& script, const std::string& fields, const SpeedOptions& options);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const std::string& name() const { return name_; }  // "torch 2.11.0 in Python"
  // Why there is no peer, and what to do; empty when there is one.
  const std::string& missing() const { return missing_; }

  // CPU seconds of one pass; nothing where the peer has none. `context`: of a token, as in
  // SpeedRow.
  std::optional<double> seconds(SpeedRow::Pass pass, std::optional<int64_t> context = {});

 private:
  class Process;
  std::unique_ptr<Process> process_;
  std::string name_, missing_;
};

}  // namespace echo::testing
