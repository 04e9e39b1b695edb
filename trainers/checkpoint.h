#pragma once

#include "trainers/distributed/ranks.h"

#include <echo/module.h>
#include <echo/optimizer.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace echo {

// Where a run stands, beside the tensors.
struct TrainerState {
  int64_t step = 0;             // updates done; the next step reads samples from step * batch
  int64_t tokens = 0;           // read so far
  double seconds = 0;           // spent so far, all in all
  double training_seconds = 0;  // spent so far in steps
  bool evaluated = true;        // false: stopped before the evaluation that is due at this step
  std::optional<int64_t> steps_to_solve;  // step of the first evaluation that counts as solved
  std::optional<double> best;             // best value of the task's metric so far
};

// Names of the files of a checkpoint that one process wrote. Several write one file each, as
// model-00001-of-00004.safetensors, and an index as Hugging Face's: any number of ranks reads them.
inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kTrainerFile = "trainer.json";

enum class CheckpointPart { all, model, optimizer };

// The safetensors files of a part, sorted.
std::vector<std::filesystem::path> checkpoint_files(const std::filesystem::path& checkpoint,
                                                    CheckpointPart part);

// What its model's files say of themselves.
std::map<std::string, std::string> checkpoint_metadata(const std::filesystem::path& checkpoint);

// The folder runs/<name>/checkpoints: one folder per saved step, and the link `latest`. A
// checkpoint appears whole or not at all, whenever the process or the machine dies. Used by the one
// process that trains in the run folder; others may read.
class Checkpoints {
 public:
  explicit Checkpoints(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path path(int64_t step) const;  // .../000400
  std::vector<int64_t> steps() const;              // saved ones, rising
  // What `latest` points to; where it points nowhere, the last saved one.
  std::optional<int64_t> latest() const;

  // Removes what a killed process left half-done. Creates the folder if need be.
  void clean() const;

  struct Content {
    const Module& model;
    std::span<const Slot> slots;  // of this rank
    TrainerState state;
    std::map<std::string, std::string> metadata;  // of model.safetensors
  };
  // Saves, moves `latest`, then removes the oldest until `keep` are left. Throws Error that says
  // what is needed and what is free, and which checkpoint is the last whole one. All ranks call it,
  // each writes its share of the parameters, and it fails on all or none.
  void save(const Content& content, int64_t keep, Ranks& ranks) const;
  void save(const Content& content, int64_t keep) const;  // one process alone

  // Forgets all saved steps after `step`: the run goes on from there.
  void rewind(int64_t step) const;

 private:
  void write(const std::filesystem::path& temporary, const Content& content, Ranks& ranks) const;
  void prune(int64_t step, int64_t keep) const;
  void publish(const std::filesystem::path& temporary, int64_t step) const;
  void point_latest(int64_t step) const;
  std::string last_whole() const;

  std::filesystem::path folder_;
};

// Reads trainer.json and compares the sizes and checksums of the files beside it, or of those of
// one part. Throws Error that names the damaged file.
TrainerState verify_checkpoint(const std::filesystem::path& checkpoint,
                               CheckpointPart part = CheckpointPart::all);

// Copies a checkpoint's tensors into the model's parameters, by name, one at a time. Throws Error
// for a name or a shape that does not fit.
void load_parameters(const std::filesystem::path& checkpoint, Module& model);

// Gives the slots, which are some of the model's, their saved states.
void load_optimizer(const std::filesystem::path& checkpoint, std::span<Slot> slots,
                    const Optimizer& optimizer, const Module& model);

}  // namespace echo
