#pragma once

#include <echo/task.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace echo {

// Samples that a dump writes unless told otherwise: the whole split, or 1000 of fresh data. Throws
// ConfigError for a split that the task does not have.
int64_t dump_samples(const TaskInfo& info, Split split);

// Writes the first `count` samples of a split as a safetensors file: `inputs` and `labels`, (N, T)
// int64, and the metadata. They are held in memory once. Throws Error for samples of different
// lengths, and when the file cannot be written. The task must be prepared.
void dump_task(const Task& task, Split split, int64_t count, const std::filesystem::path& path,
               const std::map<std::string, std::string>& metadata);

}  // namespace echo
