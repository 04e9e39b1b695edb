#pragma once

#include "framework/src/model/model.h"
#include "trainers/run_folder.h"

#include <echo/task.h>

#include <optional>
#include <string>

namespace echo {

// A text that a trained model wrote, for people to look at: sample.json of a run folder.
struct TextSample {
  std::string text;
  std::string note;  // how it was made
};

// Lets the model write into the run folder. Does nothing for a task without text and for a model
// that cannot generate. Throws Error when the model's output is not finite, or the file cannot be
// written.
void write_sample(const RunFolder& folder, Model& model, const Task& task);

// None: the run has none.
std::optional<TextSample> read_sample(const RunFolder& folder);

}  // namespace echo
