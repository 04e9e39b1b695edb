#pragma once

#include <echo/registry.h>

#include <nlohmann/json.hpp>

namespace echo {

// JSON schema (draft 7) of recipes made of a registry's kinds, for completion and checks in
// editors. It allows all that a recipe may be, also one that extends another and so lacks sections;
// what depends on several fields together is left to the reading of the recipe.
nlohmann::ordered_json json_schema(const Registry& registry);

}  // namespace echo
