#include "framework/src/import/export.h"

#include "framework/src/files/file.h"
#include "framework/src/files/safetensors.h"
#include "framework/src/import/architecture.h"
#include "framework/src/import/import.h"
#include "framework/src/import/pieces.h"
#include "framework/src/recipe/describe.h"
#include "framework/src/recipe/kinds.h"
#include "framework/src/text/near.h"

#include <echo/error.h>

#include <algorithm>
#include <map>
#include <optional>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace fs = std::filesystem;

namespace {

template <class T>
Json fields_json(T value) {
  return to_json(write_fields(fields_of(value)));
}

// A branch and where it stands in the recipe: "blocks.0.1.".
struct BranchPlace {
  const BranchRecipe* branch;
  std::string name;
};

std::vector<BranchPlace> branches_of(const ModelRecipe& model) {
  std::vector<BranchPlace> places;
  for (size_t block = 0; block < model.blocks.size(); ++block) {
    for (size_t i = 0; i < model.blocks[block].size(); ++i) {
      places.push_back({&model.blocks[block][i],
                        branch_name(static_cast<int64_t>(block), static_cast<int64_t>(i))});
    }
  }
  return places;
}

// Why a class is no model like this: how many branches fit, and the first thing that does not.
struct Misfit {
  size_t fitting = 0;
  std::string reason;
};

std::optional<Misfit> wrong_kind(const std::vector<BranchPlace>& places,
                                 const Architecture& architecture) {
  for (size_t i = 0; i < places.size(); ++i) {
    const auto& allowed = architecture.kinds[i % architecture.kinds.size()];
    const std::string& kind = places[i].branch->mixer.kind;
    if (std::find(allowed.begin(), allowed.end(), kind) != allowed.end()) continue;
    return Misfit{i, places[i].name + "mixer is a '" + kind + "', where " + architecture.name +
                         " has " + join(allowed)};
  }
  if (places.size() % architecture.kinds.size() == 0) return std::nullopt;
  return Misfit{places.size(), places.back().name + "mixer is the last, and a layer of " +
                                   architecture.name + " has " +
                                   std::to_string(architecture.kinds.size()) + " branches"};
}

// "mixer.window is 32, and there it is null", for the first field that differs; empty: none does.
std::string difference(const Json& own, const Json& theirs, const std::string& path) {
  if (own == theirs) return "";
  if (own.is_object() && theirs.is_object()) {
    for (const auto& [key, value] : own.items()) {
      const std::string name = path.empty() ? key : path + "." + key;
      const std::string found = difference(value, theirs.value(key, Json()), name);
      if (!found.empty()) return found;
    }
  }
  return path + " is " + own.dump() + ", and there it is " + theirs.dump();
}

// What a class would be written as.
struct Plan {
  Json config;
  Blueprint blueprint;
  std::optional<Misfit> misfit;
};

std::optional<Misfit> compare(const Json& own, const Json& theirs,
                              const std::vector<BranchPlace>& places) {
  for (const auto& [key, value] : own.items()) {
    if (key == "blocks") continue;
    const std::string found = difference(value, theirs.at(key), "model." + key);
    if (!found.empty()) return Misfit{places.size(), found};
  }
  size_t place = 0;
  for (size_t layer = 0; layer < own.at("blocks").size(); ++layer) {
    for (size_t branch = 0; branch < own.at("blocks")[layer].size(); ++branch, ++place) {
      const std::string found =
          difference(own.at("blocks")[layer][branch], theirs.at("blocks").at(layer).at(branch), "");
      if (!found.empty()) return Misfit{places.size(), places[place].name + found};
    }
  }
  return std::nullopt;
}

Plan plan_for(const Architecture& architecture, const ModelRecipe& model,
              const std::vector<BranchPlace>& places, const Registry& registry) {
  Plan plan;
  plan.misfit = wrong_kind(places, architecture);
  if (plan.misfit) return plan;
  const auto branches = static_cast<int64_t>(architecture.kinds.size());
  const Json own = model_json(model, branches);
  const std::optional<Json> written = architecture.write(own);
  if (!written) {
    plan.misfit = Misfit{places.size(), "transformers itself refuses such a model"};
    return plan;
  }
  plan.config = *written;
  try {
    Config config("config.json", plan.config);
    plan.blueprint = find_architecture(config).read(config);
    config.finish(architecture.name);
    const Recipe again = recipe_of(plan.blueprint, "exported", "config.json", registry);
    plan.misfit = compare(own, model_json(again.model, branches), places);
  } catch (const ConfigError& mistake) {
    plan.misfit = Misfit{places.size(), mistake.what()};
  }
  return plan;
}

// "blocks.0.1." of "blocks.0.1.mixer.A_log"; empty for what is in no branch.
std::string branch_of(const std::string& parameter) {
  const std::string blocks = "blocks.";
  if (!parameter.starts_with(blocks)) return "";
  const size_t block_end = parameter.find('.', blocks.size());
  return parameter.substr(0, parameter.find('.', block_end + 1) + 1);
}

// The recipe's own names of the branches, which may stand in other blocks than a class's layers.
void rename_parts(Blueprint& blueprint, const std::vector<BranchPlace>& places, size_t branches) {
  std::map<std::string, std::string> names = {{"", ""}};
  for (size_t i = 0; i < places.size(); ++i) {
    names[branch_name(static_cast<int64_t>(i / branches), static_cast<int64_t>(i % branches))] =
        places[i].name;
  }
  for (Link& link : blueprint.links) {
    for (Part& part : link.parts) {
      const std::string branch = branch_of(part.parameter);
      part.parameter = names.at(branch) + part.parameter.substr(branch.size());
    }
  }
}

void write_tensors(const fs::path& file, const Blueprint& blueprint, const Parameters& parameters) {
  std::map<std::string, TensorEntry> entries;
  std::map<std::string, const Link*> links;
  for (const Link& link : blueprint.links) {
    entries[link.stored] = {at::kFloat, stored_shape(link, parameters)};
    links[link.stored] = &link;
  }
  SafetensorsWriter writer(file, entries, {{"format", "pt"}});  // transformers asks for that word
  for (const auto& [name, link] : links) writer.append(stored_value(*link, parameters));
  writer.finish();
}

void write_checkpoint(const fs::path& folder, const Plan& plan, const Parameters& parameters) {
  try {
    write_folder(folder, [&](const fs::path& temporary) {
      write_tensors(temporary / "model.safetensors", plan.blueprint, parameters);
      FileWriter config(temporary / "config.json");
      config.write(plan.config.dump(2) + "\n");
      config.finish();
    });
  } catch (const fs::filesystem_error& failure) {
    throw Error("cannot write " + folder.string() + ": " + failure.code().message());
  }
}

}  // namespace

Json model_json(const ModelRecipe& model, int64_t branches) {
  Json json = {{"width", model.width},
               {"vocabulary", model.vocabulary},
               {"norm", fields_json(model.norm)},
               {"head", fields_json(model.head)},
               {"positions", fields_json(model.positions)},
               {"embedding_scale", model.embedding_scale},
               {"logit_scale", model.logit_scale}};
  json["blocks"] = Json::array();
  size_t index = 0;
  for (const BranchPlace& place : branches_of(model)) {
    if (index++ % static_cast<size_t>(branches) == 0) json["blocks"].push_back(Json::array());
    Json branch = {{"mixer", to_json(write_kind(place.branch->mixer))}};
    Json& mixer = branch["mixer"];
    // Fields that change nothing beside others.
    if (mixer.contains("qk_norm") && mixer["qk_norm"] == false) {
      mixer.erase("norm_eps");
      mixer.erase("qk_norm_over");
    }
    if (mixer.contains("rope_theta") && mixer["rope_theta"].is_null()) mixer.erase("rope_fraction");
    branch.update(fields_json(*place.branch));
    json["blocks"].back().push_back(std::move(branch));
  }
  return json;
}

std::string export_model(const Recipe& recipe, const Model& model, const fs::path& path,
                         const Registry& registry) {
  fs::path folder = path.lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // "out/"
  if (fs::exists(folder)) {
    throw ConfigError(folder.string() + " exists already; name a new folder, or remove it first");
  }
  const std::vector<BranchPlace> places = branches_of(recipe.model);
  std::optional<Misfit> nearest;
  const char* nearest_class = "";
  for (const Architecture& architecture : architectures()) {
    Plan plan = plan_for(architecture, recipe.model, places, registry);
    if (!plan.misfit) {
      const c10::NoGradGuard no_gradients;
      rename_parts(plan.blueprint, places, architecture.kinds.size());
      write_checkpoint(folder, plan, parameters_of(model));
      return architecture.name;
    }
    if (nearest && plan.misfit->fitting <= nearest->fitting) continue;
    nearest = plan.misfit;
    nearest_class = architecture.name;
  }
  throw ConfigError("the recipe " + recipe.name +
                    " is none of the classes of transformers that Echo writes; the nearest is " +
                    nearest_class + ", but " + nearest->reason);
}

}  // namespace echo
