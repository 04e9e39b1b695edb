#include "framework/src/import/import.h"

#include "framework/src/import/architecture.h"
#include "framework/src/import/stored_tensors.h"

#include <echo/error.h>

#include <algorithm>
#include <set>
#include <sstream>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

// Fills a model's parameters, one stored tensor at a time. First everything is compared by name and
// shape, on a model without data.
class Filling {
 public:
  Filling(const Blueprint& blueprint, StoredTensors& tensors, const std::string& folder,
          const std::string& owner)
      : blueprint_(blueprint), tensors_(tensors), folder_(folder), owner_(owner) {}

  void check(const Parameters& parameters) {
    for (const Link& link : blueprint_.links) {
      const std::vector<int64_t> wanted = stored_shape(link, parameters);
      const std::vector<std::string> names = names_in_files(link);
      if (names.empty()) {
        throw ConfigError(folder_ + " has no tensor '" + link.stored + "' (" + shape_text(wanted) +
                          "), which " + owner_ + " with this config.json needs");
      }
      check_shape(names, wanted);
      used_.insert(names.begin(), names.end());
    }
    check_rest();
  }

  void fill_all(const Parameters& parameters) {
    size_t filled = 0;
    for (const Link& link : blueprint_.links) {
      fill(link, read(link), parameters);
      filled += link.parts.size();
    }
    ECHO_CHECK(filled == parameters.size(),
               << owner_ << " fills " << filled << " parameters of " << parameters.size());
    check_tied_head();
  }

 private:
  // One, or those whose rows are to be joined; empty: it is not there.
  std::vector<std::string> names_in_files(const Link& link) const {
    if (tensors_.find(link.stored)) return {link.stored};
    for (const std::string& alias : link.aliases) {
      if (tensors_.find(alias)) return {alias};
    }
    for (const std::string& piece : link.pieces) {
      if (!tensors_.find(piece)) return {};
    }
    return link.pieces;
  }

  void check_shape(const std::vector<std::string>& names, const std::vector<int64_t>& wanted) {
    std::vector<int64_t> shape = tensors_.find(names.front())->entry.shape;
    std::string list = "'" + names.front() + "'";
    for (size_t i = 1; i < names.size(); ++i) {
      const std::vector<int64_t>& more = tensors_.find(names[i])->entry.shape;
      if (!shape.empty() && !more.empty()) shape.front() += more.front();
      list += ", '" + names[i] + "'";
    }
    if (shape == wanted) return;
    throw ConfigError(tensors_.file_of(*tensors_.find(names.front())) + ": the tensor " + list +
                      " has shape " + shape_text(shape) + ", and config.json asks for " +
                      shape_text(wanted));
  }

  at::Tensor read(const Link& link) {
    std::vector<at::Tensor> parts;
    for (const std::string& name : names_in_files(link)) parts.push_back(tensors_.read(name));
    return parts.size() == 1 ? parts.front() : at::cat(parts);
  }

  // What no parameter is made of.
  void check_rest() const {
    for (const auto& [name, stored] : tensors_.all()) {
      const bool derived =
          std::any_of(blueprint_.derived.begin(), blueprint_.derived.end(),
                      [&name = name](const std::string& end) { return name.ends_with(end); });
      if (used_.count(name) || derived || name == blueprint_.tied_head) continue;
      throw ConfigError(tensors_.file_of(stored) + ": the tensor '" + name + "' (" +
                        shape_text(stored.entry.shape) + ") has no place in " + owner_ +
                        " with this config.json");
    }
  }

  void check_tied_head() const {
    const std::string& head = blueprint_.tied_head;
    if (head.empty() || !tensors_.find(head)) return;
    if (at::equal(tensors_.read(head), tensors_.read(blueprint_.embedding))) return;
    throw ConfigError(tensors_.file_of(*tensors_.find(head)) + ": the tensor '" + head +
                      "' is not '" + blueprint_.embedding +
                      "', though tie_word_embeddings is true; remove it, or set "
                      "tie_word_embeddings to false");
  }

  const Blueprint& blueprint_;
  StoredTensors& tensors_;
  std::string folder_;
  std::string owner_;
  std::set<std::string> used_;
};

}  // namespace

Recipe recipe_of(const Blueprint& blueprint, const std::string& name, const std::string& file,
                 const Registry& registry) {
  const int64_t kLength = 512;
  Json recipe;
  recipe["name"] = name;
  recipe["model"] = blueprint.model;
  recipe["task"] = {
      {"kind", "tokens"}, {"vocabulary", blueprint.model.at("vocabulary")}, {"length", kLength}};
  recipe["train"] = {{"steps", 1000}, {"batch", 8}};
  try {
    return read_recipe_text(recipe.dump(1), "recipe", ".", {}, registry);
  } catch (const ConfigError& mistake) {
    throw ConfigError(file + " asks for a model that Echo refuses: " + mistake.what());
  }
}

ImportedModel import_model(const fs::path& folder, const std::string& name,
                           const Registry& registry) {
  if (!fs::is_directory(folder)) {
    throw ConfigError(folder.string() +
                      " is no folder; give the folder of a Hugging Face checkpoint, with its "
                      "config.json and model.safetensors");
  }
  Config config = Config::read(folder / "config.json");
  const Architecture& architecture = find_architecture(config);
  const Blueprint blueprint = architecture.read(config);
  config.finish(architecture.name);
  ImportedModel imported;
  imported.class_name = architecture.name;
  imported.recipe = recipe_of(blueprint, name, config.file(), registry);

  const c10::NoGradGuard no_gradients;
  StoredTensors tensors(folder);
  Filling filling(blueprint, tensors, folder.string(), architecture.name);
  const Model shapes(imported.recipe.model, registry,
                     at::TensorOptions().dtype(at::kFloat).device(at::kMeta), at::kFloat);
  filling.check(parameters_of(shapes));
  imported.model = std::make_unique<Model>(imported.recipe.model, registry,
                                           at::TensorOptions().dtype(at::kFloat), at::kFloat);
  filling.fill_all(parameters_of(*imported.model));
  return imported;
}

}  // namespace echo
