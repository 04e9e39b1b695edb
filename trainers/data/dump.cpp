#include "trainers/data/dump.h"

#include "framework/src/files/safetensors.h"

#include <echo/error.h>

#include <algorithm>

#include <ATen/ATen.h>

namespace echo {

namespace {

constexpr int64_t kFresh = 1000;
constexpr int64_t kAtOnce = 256;  // samples that are asked for at a time

}  // namespace

int64_t dump_samples(const TaskInfo& info, Split split) {
  if (split == Split::train) return info.train_samples > 0 ? info.train_samples : kFresh;
  const int64_t samples = split == Split::test ? info.test_samples : info.validation_samples;
  if (samples == 0)
    throw ConfigError(std::string("the task has no ") + split_name(split) + " split");
  return samples;
}

void dump_task(const Task& task, Split split, int64_t count, const std::filesystem::path& path,
               const std::map<std::string, std::string>& metadata) {
  at::Tensor inputs, labels;  // (N, T)
  for (int64_t first = 0; first < count; first += kAtOnce) {
    const int64_t part = std::min(kAtOnce, count - first);
    const Batch batch = task.batch(split, first, part);
    if (first == 0) {
      inputs = at::empty({count, batch.inputs.size(1)}, batch.inputs.options());
      labels = at::empty_like(inputs);
    }
    if (batch.inputs.size(1) != inputs.size(1)) {
      throw Error("sample " + std::to_string(first) + " has " +
                  std::to_string(batch.inputs.size(1)) + " tokens and the first one " +
                  std::to_string(inputs.size(1)) +
                  ", which one file cannot hold; take fewer samples, or samples of one length");
    }
    inputs.narrow(0, first, part).copy_(batch.inputs);
    labels.narrow(0, first, part).copy_(batch.labels);
  }
  write_safetensors(path, {{{"inputs", inputs}, {"labels", labels}}, metadata});
}

}  // namespace echo
