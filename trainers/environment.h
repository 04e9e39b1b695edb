#pragma once

#include "framework/src/plugin/loader.h"
#include "framework/src/recipe/recipe.h"

#include <cstdint>
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

// Metadata of model.safetensors: program version, resolved recipe, kinds with the versions of their
// states, and the plugins that hold them (plugin_json() of provenance.h).
std::map<std::string, std::string> model_metadata(const Recipe& recipe,
                                                  const std::vector<LoadedPlugin>& plugins,
                                                  const Registry& registry);

}  // namespace echo
