#pragma once

#include "framework/src/ranks/communicator.h"
#include "trainers/distributed/mesh.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// The ranks of one run: data x sequence of them, those that share a sequence next to each other.
// Owned by whoever trains; used by its thread.
class Ranks {
 public:
  Ranks();  // one process alone
  explicit Ranks(std::unique_ptr<Communicator> world);

  // Groups the ranks. Called once, by all of them.
  void arrange(const Mesh& mesh);

  int64_t rank() const { return world_->rank(); }
  int64_t size() const { return world_->size(); }
  bool leads() const { return rank() == 0; }  // prints, and writes what is written once
  Communicator& world() { return *world_; }
  Communicator* sequence() { return sequence_.get(); }  // null: sequences are whole
  const Mesh& mesh() const { return mesh_; }
  int64_t data_rank() const { return rank() / mesh_.sequence; }
  int64_t sequence_rank() const { return rank() % mesh_.sequence; }

  // By all ranks alike: true where any of them says so.
  bool any(bool here, const std::string& purpose);
  // Every rank's text, in order of rank.
  std::vector<std::string> gather(const std::string& text, const std::string& purpose);
  // Rank 0's text.
  std::string from_first(const std::string& text, const std::string& purpose);

  int64_t bytes_sent() const;

 private:
  std::unique_ptr<Communicator> world_, sequence_;
  Mesh mesh_;
};

}  // namespace echo
