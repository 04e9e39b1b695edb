#include "trainers/report/report.h"

#include "framework/src/files/file.h"
#include "framework/src/recipe/parse.h"
#include "trainers/report/charts.h"
#include "trainers/report/page.h"
#include "trainers/report/sections.h"

#include <echo/error.h>

#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Json read_json(const fs::path& path) {
  const Json content = Json::parse(read_text(path), nullptr, false);
  return content.is_object() ? content : Json(nullptr);
}

Node parse_recipe(const std::string& text) {
  try {
    return parse_yaml(text, "recipe.yaml", ".");
  } catch (const Error&) {
    return {};
  }
}

ReportFacts gather(const fs::path& run) {
  ReportFacts facts{.run = run, .curves = read_curves(run / "metrics.jsonl")};
  facts.summary = read_json(run / "summary.json");
  facts.environment = read_json(run / "environment.json");
  facts.sample = read_json(run / "sample.json");
  facts.recipe = read_text(run / "recipe.yaml");
  facts.tree = parse_recipe(facts.recipe);
  return facts;
}

}  // namespace

void write_report(const fs::path& run) {
  const ReportFacts facts = gather(run);
  const Json list = charts(facts.curves, facts.summary);
  const std::map<std::string, std::string> made = {
      {"title", title_part(facts)},
      {"subtitle", subtitle_part(facts)},
      {"status", status_part(facts)},
      {"tiles", tiles_part(facts)},
      {"figures", figures_part(list)},
      {"warning", warning_part(facts)},
      {"scores", scores_part(facts)},
      {"sample", sample_part(facts)},
      {"plugins", plugins_part(facts)},
      {"repeat", repeat_part(facts)},
      {"details", "<section>" + recipe_part(facts) + environment_part(facts) + "</section>"},
      {"data", inside_script(list.dump(-1, ' ', false, Json::error_handler_t::replace))},
  };
  replace_file(run / "report.html", page(made));
}

}  // namespace echo
