#pragma once

#include "framework/src/plugin/loader.h"
#include "framework/src/recipe/recipe.h"

#include <nlohmann/json.hpp>

namespace echo {

// Names in recipe.plugins the files of all plugins whose kinds it uses, wherever they were asked
// for (--plugin, ECHO_PLUGINS): so the resolved recipe alone repeats the run, and goes on with it.
void name_plugins(Recipe& recipe, const Plugins& plugins);

// For the recipe of a run folder: a plugin that is loaded already takes the place of a file of the
// same plugin, as environment.json recorded it. The file may have moved since.
void take_loaded_plugins(Node& recipe, const nlohmann::ordered_json& environment,
                         const Plugins& plugins);

}  // namespace echo
