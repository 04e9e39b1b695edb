#pragma once

#include "framework/src/plugin/loader.h"
#include "framework/src/recipe/recipe.h"
#include "trainers/run_folder.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

std::string host_name();

// What a process that trains runs on.
struct Session {
  std::string device = "cpu";
  int64_t threads = 0;
  std::vector<std::string> command;         // as it was typed
  std::map<std::string, std::string> data;  // fingerprints of the tasks that read some
  nlohmann::ordered_json ranks;             // null: one process alone
};

// The content of environment.json: versions, compiler, machine, device, threads, seed, data,
// plugins with path and SHA-256, command.
nlohmann::ordered_json environment_json(const Recipe& recipe,
                                        const std::vector<LoadedPlugin>& plugins,
                                        const Session& session);

// Null where it is no JSON.
nlohmann::ordered_json read_json_file(const std::filesystem::path& file);

// environment.json; what is missing or damaged there counts as not known.
nlohmann::ordered_json read_environment(const RunFolder& folder);

// "echo-lm train --resume --run runs/a", with --ranks where it last ran on several of one machine.
std::string how_to_resume(const RunFolder& folder);

// Metadata of model.safetensors: program version, resolved recipe, kinds with the versions of their
// states, and the plugins that hold them (plugin_json() of provenance.h).
std::map<std::string, std::string> model_metadata(const Recipe& recipe,
                                                  const std::vector<LoadedPlugin>& plugins,
                                                  const Registry& registry);

}  // namespace echo
