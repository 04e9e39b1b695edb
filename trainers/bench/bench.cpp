#include "trainers/bench/bench.h"

#include "framework/src/files/program_prefix.h"
#include "framework/src/recipe/values.h"
#include "framework/src/text/near.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace echo {

namespace fs = std::filesystem;

namespace {

// What stands at the top of a bench file, beside `bench`.
struct Top {
  std::string name;
  void visit(Fields& fields) { fields("name", name, "of the bench and its folder"); }
};

bool is_absent(const Node* node) { return !node || (node->is_null() && !node->blank); }

// A map of one entry per name of a dotted path, the innermost holding the value.
Node nested(const std::string& path, Node value) {
  const size_t dot = path.rfind('.');
  Node map;
  map.where = value.where;
  map.folder = value.folder;
  map.add(dot == std::string::npos ? path : path.substr(dot + 1), std::move(value));
  map.entries.back().where = map.where;
  return dot == std::string::npos ? map : nested(path.substr(0, dot), std::move(map));
}

// The base is a recipe, the name of a file, or a map that extends one.
Node read_base(const Node& bench) {
  const Node* base = bench.find("base");
  if (is_absent(base)) {
    throw ConfigError(bench.where,
                      "bench.base is missing; name the recipe that the arms vary, as in base: "
                      "{extends: recipe.yaml}");
  }
  if (base->is_scalar()) {
    Node extending;
    extending.where = base->where;
    extending.folder = base->folder;
    extending.add("extends", *base);
    return extended(std::move(extending));
  }
  expect_map(*base, "bench.base");
  return extended(*base);
}

// What does not begin with "bench." or "name" changes the base, as in every other command.
std::vector<std::string> in_bench(const std::vector<std::string>& overrides) {
  std::vector<std::string> result;
  for (const std::string& change : overrides) {
    const bool of_bench = change.starts_with("bench.") || change.starts_with("name=");
    result.push_back(of_bench ? change : "bench.base." + change);
  }
  return result;
}

void read_arms(const Node& node, Bench& bench) {
  const Node* arms = node.find("arms");
  if (is_absent(arms)) {
    throw ConfigError(node.where,
                      "bench.arms is missing; name what is compared, as in arms: {attention: "
                      "{model: ..}, ska: {}}");
  }
  expect_map(*arms, "bench.arms");
  for (const Node::Entry& arm : arms->entries) {
    if (is_absent(&arm.value)) continue;
    expect_map(arm.value, "bench.arms." + arm.key);
    bench.arms.push_back({arm.key, extended(arm.value)});
  }
  if (bench.arms.empty()) throw ConfigError(arms->where, "bench.arms: has no arm");
}

void read_grid(const Node& node, Bench& bench) {
  const Node* grid = node.find("grid");
  if (is_absent(grid)) return;
  expect_map(*grid, "bench.grid");
  for (const Node::Entry& axis : grid->entries) {
    if (is_absent(&axis.value)) continue;
    expect_list(axis.value, "bench.grid." + axis.key);
    if (axis.value.items.empty())
      throw ConfigError(axis.value.where, "bench.grid." + axis.key + ": has no value");
    bench.grid.push_back({axis.key, axis.value.items});
  }
}

template <class T>
void refuse_twice(const std::vector<T>& values, const std::string& field, const Places& places,
                  const Node& node) {
  if (std::set<T>(values.begin(), values.end()).size() == values.size()) return;
  throw ConfigError(places.count(field) ? places.at(field) : node.where,
                    "bench." + field + ": holds a value twice");
}

void check(const Bench& bench, const Node& node, const Places& places) {
  const auto fail = [&](const std::string& field, const std::string& message) {
    throw ConfigError(places.count(field) ? places.at(field) : node.where,
                      "bench." + field + ": " + message);
  };
  if (bench.seeds.empty()) fail("seeds", "has no seed; write some, as in seeds: [0, 1, 2]");
  refuse_twice(bench.seeds, "seeds", places, node);
  refuse_twice(bench.rates, "rates", places, node);
  refuse_twice(bench.rate_seeds, "rate_seeds", places, node);
  if (bench.rates.size() < 2) return;
  if (bench.rate_seeds.empty()) {
    fail("rate_seeds",
         "is missing, but there are several rates to choose from; write seeds of their own, as in "
         "rate_seeds: [100]");
  }
  for (const int64_t seed : bench.rate_seeds) {
    if (std::count(bench.seeds.begin(), bench.seeds.end(), seed)) {
      fail("rate_seeds", "the seed " + std::to_string(seed) +
                             " is one of bench.seeds too; a rate is chosen with other seeds than "
                             "those that are reported");
    }
  }
}

fs::path recipes_folder() { return program_prefix() / "share" / "echo-lm" / "recipes"; }

std::vector<std::string> shipped_benches() {
  std::vector<std::string> names;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(recipes_folder() / "bench", failure)) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string value_text(const Node& value) {
  return value.is_scalar() ? value.text : write_yaml(value);
}

}  // namespace

void Bench::visit(Fields& fields) {
  fields("rates", rates, "learning rates to choose from; none: the recipe's own", above(0));
  fields("rate_seeds", rate_seeds, "seeds that the rate is chosen with", at_least(0));
  fields("seeds", seeds, "seeds that are scored and reported", at_least(0));
  fields("rate_field", rate_field, "the field of the recipe that a rate is written into");
}

Bench read_bench(const fs::path& file, bool quick, const std::vector<std::string>& overrides) {
  Node tree = read_tree(file.string(), {});
  Node::Entry* section = tree.entry("bench");
  if (!section || is_absent(&section->value)) {
    throw ConfigError(tree.where,
                      "has no section 'bench'; a recipe is trained with `train`, a bench has "
                      "bench: {base, arms, grid, rates, seeds}");
  }
  expect_map(section->value, "bench");
  Node base = read_base(section->value);
  section->value.entry("base")->value = std::move(base);
  if (quick) {
    const Node* changes = section->value.find("quick");
    if (is_absent(changes)) {
      throw ConfigError(section->value.where,
                        "has no 'quick': leave --quick out, or say in bench.quick what it changes");
    }
    expect_map(*changes, "bench.quick");
    const Node copy = *changes;
    section->value = merge(std::move(section->value), copy);
  }
  section->value.remove("quick");
  apply_overrides(tree, in_bench(overrides));

  Bench bench;
  Top top{.name = file.stem().string()};
  read_fields(tree, fields_of(top), {"", "", {"bench"}});
  bench.name = top.name;
  bench.file = file;
  bench.quick = quick;
  bench.overrides = overrides;
  const Node& node = *tree.find("bench");
  const Places places =
      read_fields(node, fields_of(bench), {"bench", "", {"base", "arms", "grid", "quick"}});
  bench.base = *node.find("base");
  read_arms(node, bench);
  read_grid(node, bench);
  check(bench, node, places);
  return bench;
}

bool Combination::operator<(const Combination& other) const {
  return std::tie(arm, point) < std::tie(other.arm, other.point);
}

std::vector<Combination> combinations(const Bench& bench) {
  std::vector<Combination> all;
  for (size_t arm = 0; arm < bench.arms.size(); ++arm) {
    std::vector<std::vector<size_t>> points = {{}};
    for (const Bench::Axis& axis : bench.grid) {
      std::vector<std::vector<size_t>> longer;
      for (const std::vector<size_t>& point : points) {
        for (size_t i = 0; i < axis.values.size(); ++i) {
          longer.push_back(point);
          longer.back().push_back(i);
        }
      }
      points = std::move(longer);
    }
    for (std::vector<size_t>& point : points) all.push_back({arm, std::move(point)});
  }
  return all;
}

std::vector<std::pair<std::string, std::string>> grid_values(const Bench& bench,
                                                             const Combination& combination) {
  std::vector<std::pair<std::string, std::string>> values;
  for (size_t i = 0; i < bench.grid.size(); ++i) {
    values.emplace_back(bench.grid[i].path, value_text(bench.grid[i].values[combination.point[i]]));
  }
  return values;
}

bool varies(const Bench& bench, const std::string& path) {
  return std::any_of(bench.grid.begin(), bench.grid.end(), [&](const Bench::Axis& axis) {
    return axis.path == path && axis.values.size() > 1;
  });
}

Node cell_tree(const Bench& bench, const Combination& combination, std::optional<double> rate,
               int64_t seed) {
  Node tree = merge(bench.base, bench.arms[combination.arm].changes);
  for (size_t i = 0; i < bench.grid.size(); ++i) {
    const Bench::Axis& axis = bench.grid[i];
    tree = merge(std::move(tree), nested(axis.path, axis.values[combination.point[i]]));
  }
  if (rate) tree = merge(std::move(tree), nested(bench.rate_field, scalar(exact_number(*rate))));
  tree = merge(std::move(tree), nested("seed", scalar(std::to_string(seed))));
  tree = merge(std::move(tree), nested("name", quoted(bench.arms[combination.arm].name)));
  tree.where = bench.base.where;
  return tree;
}

std::string combination_text(const Bench& bench, const Combination& combination) {
  std::string text = bench.arms[combination.arm].name;
  for (const auto& [path, value] : grid_values(bench, combination)) {
    if (varies(bench, path)) text += ", " + path + " " + value;
  }
  return text;
}

fs::path find_bench(const std::string& name) {
  std::error_code failure;
  const bool is_path = name.find('/') != std::string::npos || name.ends_with(".yaml");
  if (is_path || fs::is_regular_file(name, failure)) return name;
  const fs::path shipped = recipes_folder() / "bench" / (name + ".yaml");
  if (fs::is_regular_file(shipped, failure)) return fs::canonical(shipped);
  throw ConfigError("--bench: unknown bench '" + name + "'" +
                    known_words(name, "the program's own benches", shipped_benches()) +
                    "; another one is named by its file, as in --bench my.yaml");
}

}  // namespace echo
