#pragma once

#include "framework/src/recipe/tree.h"
#include "trainers/report/curves.h"

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

namespace echo {

// All that a page is made of.
struct ReportFacts {
  std::filesystem::path run;
  Curves curves;
  nlohmann::ordered_json summary;      // null: the run is not finished
  nlohmann::ordered_json environment;  // null: not there
  nlohmann::ordered_json sample;       // null: not there
  std::string recipe;
  Node tree;  // of the recipe; empty where it cannot be read
};

// The parts of page.html, as HTML; empty where there is nothing to say.
std::string title_part(const ReportFacts& facts);
std::string subtitle_part(const ReportFacts& facts);
std::string status_part(const ReportFacts& facts);
std::string tiles_part(const ReportFacts& facts);
std::string figures_part(const nlohmann::ordered_json& charts);
std::string warning_part(const ReportFacts& facts);
std::string scores_part(const ReportFacts& facts);
std::string sample_part(const ReportFacts& facts);
std::string plugins_part(const ReportFacts& facts);
std::string repeat_part(const ReportFacts& facts);
std::string recipe_part(const ReportFacts& facts);
std::string environment_part(const ReportFacts& facts);

}  // namespace echo
