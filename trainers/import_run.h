#pragma once

#include "framework/src/plugin/loader.h"
#include "trainers/run_folder.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace echo {

struct ImportRequest {
  std::filesystem::path checkpoint;  // a folder that transformers wrote
  std::filesystem::path run;         // empty: runs/<name of the checkpoint's folder>
  std::vector<std::string> command;  // as it was typed, for environment.json
};

struct ImportedRun {
  RunFolder folder;
  std::string class_name;  // "LlamaForCausalLM"
  int64_t parameters = 0;
  int64_t layers = 0;
};

// Makes a run folder of a checkpoint: an ordinary recipe and a checkpoint at step 0. The folder
// must not exist, and appears whole or not at all. Throws ConfigError for what Echo cannot honour.
ImportedRun import_run(const ImportRequest& request, Plugins& plugins);

}  // namespace echo
