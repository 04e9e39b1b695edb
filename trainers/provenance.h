#pragma once

#include "framework/src/plugin/loader.h"

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace echo {

// Where other people's code in a run came from: name, version, path, SHA-256 and fingerprint of a
// plugin, as environment.json and checkpoints hold them.
nlohmann::ordered_json plugin_json(const LoadedPlugin& plugin);

// What is different between the metadata of a checkpoint (model_metadata() when it was made) and
// those of now: a line for every plugin that is another build. Throws ConfigError where a mixer
// keeps its state in another version than the checkpoint's: it may mean something else.
std::vector<std::string> plugin_changes(const std::map<std::string, std::string>& then,
                                        const std::map<std::string, std::string>& now);

// The plugins of a run's environment.json that are not loaded, as the end of a message about an
// unknown kind; or nothing.
std::string missing_plugins(const nlohmann::ordered_json& environment,
                            const std::vector<LoadedPlugin>& loaded);

}  // namespace echo
