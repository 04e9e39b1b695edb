#pragma once

#include "framework/src/accounting/account.h"
#include "trainers/distributed/mesh.h"
#include "trainers/step_memory.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// What ranks run on.
struct Machine {
  int64_t ranks = 1;
  int64_t memory = 0;             // bytes that a rank has
  int64_t node_ranks = 8;         // ranks that share a node
  double bandwidth = 50e9;        // bytes per second that a rank sends to another node
  double node_bandwidth = 300e9;  // and within its node
  double flops = 400e12;          // floating-point operations per second of a rank, at most
  double efficiency = 0.4;        // the share of them that a model reaches
};

// Bytes of the rank that holds the most. What a step holds at most is less than the sum where they
// are not there together, and more by what passes.
struct PlannedMemory {
  int64_t parameters = 0;
  int64_t gradients = 0;
  int64_t buckets = 0;
  int64_t optimizer = 0;
  int64_t activations = 0;
  int64_t peak = 0;
};

// Bytes that a rank sends in a step, as Communicator counts them.
struct PlannedTraffic {
  int64_t gradients = 0;
  int64_t parameters = 0;  // ZeRO-1: after the update
  int64_t control = 0;     // counts, the loss, the gradient's norm
  int64_t sequence = 0;    // between the ranks of a sequence

  int64_t total() const { return gradients + parameters + control + sequence; }
};

// The bytes of one step of a recipe on a mesh, exact where rows and tokens divide evenly, and
// without mixers' auxiliary losses.
PlannedTraffic planned_traffic(const Recipe& recipe, const Registry& registry, const Mesh& mesh);

// Seconds of a step. Communication counts where no computing hides it.
struct PlannedTime {
  double work = 0;       // the step's computing, shared out evenly
  double idle = 0;       // what the rank with the largest share computes longer
  double gradients = 0;  // beyond the last part's backward pass
  double parameters = 0;
  double control = 0;
  double sequence = 0;

  double communication() const { return gradients + parameters + control + sequence; }
  double total() const { return work + idle + communication(); }
};

// What takes most of a step (rows or tokens that cannot be shared out evenly: batch), or keeps it
// from running at all.
enum class Limit { compute, bandwidth, memory, batch };
const char* limit_name(Limit limit);

struct MeshPlan {
  Mesh mesh;
  PlannedMemory memory;
  PlannedTraffic traffic;
  PlannedTime time;
  bool fits = false;
  Limit limit = Limit::compute;
};

// A product of ranks that the recipe cannot be shared out to.
struct ImpossibleMesh {
  Mesh mesh;
  std::string reason;
};

struct Plan {
  std::vector<MeshPlan>
      meshes;  // those that fit, the fastest first; the others, the smallest first
  std::vector<ImpossibleMesh> impossible;

  const MeshPlan* best() const;     // null: none fits
  const MeshPlan* nearest() const;  // the smallest that does not fit; null: all do
};

// What would make a mesh fit.
struct Remedies {
  std::optional<int64_t> accumulation;  // train.accumulation
  std::optional<int64_t> ranks;
};

// Shares out a recipe to ranks, on paper: the model is never made, but as in Account. The rules are
// in trainers/distributed/README.md.
class Planner {
 public:
  Planner(const Recipe& recipe, const Registry& registry);

  const TaskWorkload& task() const { return task_; }

  // Every mesh of so many ranks, with ZeRO-1 and without.
  Plan plan(const Machine& machine) const;
  MeshPlan plan(const Mesh& mesh, const Machine& machine) const;
  // Searches where nothing fits.
  Remedies remedies(const Machine& machine) const;

  PlannedMemory memory(const Mesh& mesh) const;
  PlannedTime time(const Mesh& mesh, const Machine& machine) const;

 private:
  std::optional<std::string> obstacle(const Mesh& mesh) const;
  bool any_fits(const Machine& machine, int64_t parts) const;
  double flops(const Mesh& mesh) const;

  Recipe recipe_;
  TaskWorkload task_;
  Model model_;  // on the meta device
  Account account_;
  std::vector<ExchangeCost> exchanges_;  // by branch
};

}  // namespace echo
